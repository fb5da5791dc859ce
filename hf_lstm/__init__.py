"""LSTMs as first-class citizens of the Hugging Face stack."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from .models.cache_lstm import LstmCache
from .models.configuration_lstm import LstmConfig, LstmSeq2SeqConfig
from .models.modeling_lstm import (
    LstmForCausalLM,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmModel,
    LstmPreTrainedModel,
)
from .models.modeling_lstm_seq2seq import (
    LstmForConditionalGeneration,
    LstmSeq2SeqModel,
    LstmSeq2SeqPreTrainedModel,
)
from .models.pipelines_lstm import (
    LstmSummarizationPipeline,
    LstmText2TextPipeline,
    LstmTextGenerationPipeline,
    LstmTranslationPipeline,
)
from .models.quantization_lstm import LstmInt8Config
from .models.tokenization_lstm import LstmSeq2SeqTokenizer, LstmTokenizer

__version__ = "0.1.0"

AutoConfig.register(LstmConfig.model_type, LstmConfig, exist_ok=True)
# By itself and not by the model's configuration: for one that has a tokenizer, transformers would still run the code
# of a repository that the user trusts, in place of the installed class that the repository names.
AutoTokenizer.register(LstmTokenizer, tokenizer_class=LstmTokenizer, exist_ok=True)
AutoTokenizer.register(LstmSeq2SeqTokenizer, tokenizer_class=LstmSeq2SeqTokenizer, exist_ok=True)
AutoModel.register(LstmConfig, LstmModel, exist_ok=True)
AutoModelForSequenceClassification.register(LstmConfig, LstmForSequenceClassification, exist_ok=True)
AutoModelForTokenClassification.register(LstmConfig, LstmForTokenClassification, exist_ok=True)
AutoModelForCausalLM.register(LstmConfig, LstmForCausalLM, exist_ok=True)

AutoConfig.register(LstmSeq2SeqConfig.model_type, LstmSeq2SeqConfig, exist_ok=True)
AutoModel.register(LstmSeq2SeqConfig, LstmSeq2SeqModel, exist_ok=True)
AutoModelForSeq2SeqLM.register(LstmSeq2SeqConfig, LstmForConditionalGeneration, exist_ok=True)

__all__ = [
    "LstmCache",
    "LstmConfig",
    "LstmForCausalLM",
    "LstmForConditionalGeneration",
    "LstmForSequenceClassification",
    "LstmForTokenClassification",
    "LstmInt8Config",
    "LstmModel",
    "LstmPreTrainedModel",
    "LstmSeq2SeqConfig",
    "LstmSeq2SeqModel",
    "LstmSeq2SeqPreTrainedModel",
    "LstmSeq2SeqTokenizer",
    "LstmSummarizationPipeline",
    "LstmText2TextPipeline",
    "LstmTextGenerationPipeline",
    "LstmTokenizer",
    "LstmTranslationPipeline",
]
