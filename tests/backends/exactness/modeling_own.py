"""A model that brings its own code, of an older time: no cache, all logits, attention that nothing can replace."""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, width: int = 32, **keywords):
        self.width = width
        super().__init__(**keywords)


class Own(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config: OwnConfig) -> None:
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.places = nn.Embedding(256, config.width)
        self.mix = nn.Linear(config.width, 3 * config.width)
        self.head = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        length = input_ids.shape[1]
        if position_ids is None:
            position_ids = torch.arange(length)[None]
        hidden = self.words(input_ids) + self.places(position_ids)
        query, key, value = self.mix(hidden).chunk(3, -1)
        unseen = torch.ones(length, length, dtype=torch.bool).triu(1)
        if attention_mask is not None:
            unseen = unseen | ~attention_mask[:, None].bool()
        scores = (query @ key.transpose(1, 2)).masked_fill(unseen, torch.finfo(query.dtype).min)
        return CausalLMOutput(logits=self.head(hidden + scores.softmax(-1) @ value))
