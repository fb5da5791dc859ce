"""The hypotheses of a beam search, ranked as transformers' loop ranks them, but without a copy of their tokens."""

import torch
from transformers.generation import GenerationConfig

_LOWEST = -1.0e9  # what transformers adds to the score of a hypothesis that must not be chosen


class Beams:
    """
    Holds the hypotheses of each source: the beams, which go on, and the best of those that have ended.

    An extension of a beam is one number, `beam * vocab_size + token`. A hypothesis that ended in a step is its last
    extension, plus `step * num_beams * vocab_size`. `trace` follows it back through the beams of the steps before, so
    that ranking never moves whole sequences.

    Args:
        batch_size (`int`): Number of sources.
        vocab_size (`int`): Number of tokens.
        generation_config (`GenerationConfig`): The request, as `generate` has prepared it.
        max_new_tokens (`int`): Number of tokens which the longest hypothesis may have.
        device (`torch.device`): Where the scores are.
    """

    def __init__(
        self,
        batch_size: int,
        vocab_size: int,
        generation_config: GenerationConfig,
        max_new_tokens: int,
        device: torch.device,
    ):
        self.config, self.vocab_size, self.max_new_tokens = generation_config, vocab_size, max_new_tokens
        end_ids = generation_config._eos_token_tensor
        # Enough that `num_beams` go on even if every beam reaches every end token.
        self.num_candidates = max(2, 1 + (0 if end_ids is None else len(end_ids))) * generation_config.num_beams
        shape = (batch_size, generation_config.num_beams)
        self.scores = torch.zeros(shape, dtype=torch.float32, device=device)
        self.scores[:, 1:] = _LOWEST  # at first all beams are the same
        self.offsets = torch.arange(batch_size, device=device).unsqueeze(1) * generation_config.num_beams
        self.history: list[torch.Tensor] = []
        self.ended = torch.full(shape, -1, device=device)
        self.ended_scores = torch.full(shape, _LOWEST, dtype=torch.float32, device=device)
        self.has_ended = torch.zeros(shape, dtype=torch.bool, device=device)
        self.may_improve = torch.ones(batch_size, 1, dtype=torch.bool, device=device)

    def extend(self, log_probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Chooses the candidates of a step.

        Args:
            log_probs (`torch.Tensor` of shape `(batch_size * num_beams, vocab_size)`): Scores of each beam's tokens.

        Returns:
            Scores and extensions of the candidates, each of shape `(batch_size, num_candidates)`, best first.
        """
        totals = (log_probs.view(*self.scores.shape, self.vocab_size) + self.scores.unsqueeze(2)).flatten(1)
        if self.config.do_sample:
            drawn = torch.multinomial(totals.softmax(dim=-1), self.num_candidates)
            ranked = totals.gather(1, drawn).sort(dim=-1, descending=True)
            return ranked.values, drawn.gather(1, ranked.indices)
        best = totals.topk(self.num_candidates)
        return best.values, best.indices

    def advance(self, scores: torch.Tensor, candidates: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        """
        Goes on with the best candidates that have not ended, and keeps the best of those that have.

        Args:
            scores (`torch.Tensor` of shape `(batch_size, num_candidates)`): What `extend` gave.
            candidates (`torch.LongTensor` of shape `(batch_size, num_candidates)`): What `extend` gave.
            ends (`torch.BoolTensor` of shape `(batch_size, num_candidates)`): Which of them end here.

        Returns:
            `torch.LongTensor` of shape `(batch_size, num_beams)`: The extensions that are the beams now.
        """
        best = (scores + ends.float() * _LOWEST).topk(self.config.num_beams)
        beams = candidates.gather(1, best.indices)
        self._keep_ended(scores, candidates, ends)
        self.scores = best.values
        self.history.append(beams)
        self._look_ahead()
        return beams

    def split(self, extensions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns, for extensions of shape `(batch_size, n)`, the rows that they go on from and their tokens, flat."""
        return (extensions // self.vocab_size + self.offsets).flatten(), (extensions % self.vocab_size).flatten()

    def _keep_ended(self, scores: torch.Tensor, candidates: torch.Tensor, ends: torch.Tensor) -> None:
        step, num_beams = len(self.history), self.config.num_beams
        scores = scores / (step + 1) ** self.config.length_penalty
        if self.config.early_stopping is True:
            scores += self.has_ended.all(dim=1, keepdim=True).float() * _LOWEST
        scores += (~self.may_improve).float() * _LOWEST
        # Candidates beyond `num_beams` only take the place of ended ones; they may not end themselves.
        ends = ends.clone()
        ends[:, num_beams:] = False
        scores += (~ends) * _LOWEST
        best = torch.cat([self.ended_scores, scores], dim=1).topk(num_beams)
        self.ended_scores = best.values
        candidates = candidates + step * num_beams * self.vocab_size
        self.ended = torch.cat([self.ended, candidates], dim=1).gather(1, best.indices)
        self.has_ended = torch.cat([self.has_ended, ends], dim=1).gather(1, best.indices)

    def _look_ahead(self) -> None:
        """Notes the sources of which no beam can get better than what has ended already."""
        stops_never = self.config.early_stopping == "never" and self.config.length_penalty > 0
        length = self.max_new_tokens if stops_never else len(self.history)
        best = self.scores[:, :1] / length**self.config.length_penalty
        worst = torch.where(self.has_ended, self.ended_scores.min(dim=1, keepdim=True).values, _LOWEST)
        self.may_improve = self.may_improve & (best > worst).any(dim=1, keepdim=True)

    def go_on(self, ends: torch.Tensor) -> bool:
        """Tells whether there is a next step; `ends` is what `advance` was given."""
        may_go_on = self.may_improve.any() & ~ends.all()
        if self.config.early_stopping is True:
            may_go_on = may_go_on & ~self.has_ended.all()
        return bool(may_go_on)

    def trace(self) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Returns the tokens of what has ended, and from which row of the batch each of them came.

        Returns:
            Both of shape `(batch_size, num_beams, num_steps)`; rows are -1 after a hypothesis' end.
        """
        size = self.config.num_beams * self.vocab_size
        steps = self.ended.div(size, rounding_mode="floor")
        extensions = torch.empty(*self.ended.shape, len(self.history), dtype=torch.long, device=self.ended.device)
        beams = torch.zeros_like(self.ended)
        for step in reversed(range(len(self.history))):
            extension = torch.where(steps == step, self.ended % size, self.history[step].gather(1, beams))
            extensions[..., step] = extension
            beams = extension // self.vocab_size
        positions = torch.arange(len(self.history), device=self.ended.device)
        rows = extensions // self.vocab_size + self.offsets.unsqueeze(2)
        return extensions % self.vocab_size, rows.masked_fill(positions > steps.unsqueeze(2), -1)
