"""LSTMs as first-class citizens of the Hugging Face stack."""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from .models.cache_lstm import LstmCache
from .models.configuration_lstm import LstmConfig
from .models.modeling_lstm import (
    LstmForCausalLM,
    LstmForSequenceClassification,
    LstmForTokenClassification,
    LstmModel,
    LstmPreTrainedModel,
)
from .models.tokenization_lstm import LstmTokenizer

__version__ = "0.1.0"

AutoConfig.register(LstmConfig.model_type, LstmConfig, exist_ok=True)
AutoTokenizer.register(LstmConfig, tokenizer_class=LstmTokenizer, exist_ok=True)
AutoModel.register(LstmConfig, LstmModel, exist_ok=True)
AutoModelForSequenceClassification.register(LstmConfig, LstmForSequenceClassification, exist_ok=True)
AutoModelForTokenClassification.register(LstmConfig, LstmForTokenClassification, exist_ok=True)
AutoModelForCausalLM.register(LstmConfig, LstmForCausalLM, exist_ok=True)

__all__ = [
    "LstmCache",
    "LstmConfig",
    "LstmForCausalLM",
    "LstmForSequenceClassification",
    "LstmForTokenClassification",
    "LstmModel",
    "LstmPreTrainedModel",
    "LstmTokenizer",
]
