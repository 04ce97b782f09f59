"""The text tower of the small CLIP: a causal transformer over tokens (Radford et al. 2021).

The numbers, the names of the weights and how a training starts are those of transformers'
``CLIPTextModelWithProjection``, which loads published CLIPs and takes longer to import than torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from pos.errors import PosError


@dataclass(frozen=True)
class TextConfig:
    """Sizes of a text tower, named as in transformers' ``CLIPTextConfig``; ``eos_token_id`` ends a text."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int


class States(NamedTuple):
    """What the transformer returns: states (b, n, hidden_size) after the final norm."""

    last_hidden_state: Tensor


class TextTower(nn.Module):
    """The transformer, and the projection of a pooled state to the shared embedding.

    Args:
        config: sizes.
        embed_dim: length of the shared embedding.
    """

    def __init__(self, config: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.config = config
        self.text_model = TextTransformer(config)
        self.text_projection = nn.Linear(config.hidden_size, embed_dim, bias=False)
        nn.init.normal_(self.text_projection.weight, std=config.hidden_size**-0.5)


class TextTransformer(nn.Module):
    """Token ids to states; a token sees those before it and itself."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Encoder(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, output_hidden_states: bool = False
    ) -> States:
        """Token ids (b, n) to states.

        Args:
            input_ids: int64.
            attention_mask: 1 for tokens, 0 for padding, (b, n); None takes all for tokens.
            output_hidden_states: must be False; the states of inner layers are not kept.

        Raises:
            PosError: inner states are requested.
        """
        if output_hidden_states:
            raise PosError("The text tower of Shapes keeps its last states only: choose hidden_state=last.")
        mask = None
        if attention_mask is not None and not attention_mask.all():
            causal = torch.ones(2 * input_ids.shape[-1:], dtype=torch.bool, device=input_ids.device).tril()
            mask = causal & attention_mask.bool()[:, None, None]
        return States(self.final_layer_norm(self.encoder(self.embeddings(input_ids), mask)))


class _Embeddings(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embedding = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        for embedding in (self.token_embedding, self.position_embedding):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, input_ids: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[-1], device=input_ids.device)[None]
        return self.token_embedding(input_ids) + self.position_embedding(places)


class _Encoder(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        for layer in self.layers:
            states = layer(states, mask)
        return states


class _Layer(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        # In the order of transformers' state dict, which a detector's fingerprint hashes.
        self.self_attn, self.layer_norm1 = _Attention(config), nn.LayerNorm(config.hidden_size)
        self.mlp, self.layer_norm2 = _Mlp(config), nn.LayerNorm(config.hidden_size)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        states = states + self.self_attn(self.layer_norm1(states), mask)
        return states + self.mlp(self.layer_norm2(states))


class _Attention(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width, self.heads = config.hidden_size, config.num_attention_heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.q_proj, self.k_proj, self.v_proj):
            nn.init.normal_(layer.weight, std=(width * 2 * config.num_hidden_layers) ** -0.5)
        nn.init.normal_(self.out_proj.weight, std=width**-0.5)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.out_proj):
            nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        query, key, value = (
            layer(states).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None and states.shape[1] > 1
        )
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        nn.init.normal_(self.fc1.weight, std=(2 * config.hidden_size) ** -0.5)
        nn.init.normal_(self.fc2.weight, std=(config.hidden_size * 2 * config.num_hidden_layers) ** -0.5)
        for layer in (self.fc1, self.fc2):
            nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor) -> Tensor:
        inner = self.fc1(states)
        return self.fc2(inner * torch.sigmoid(1.702 * inner))  # CLIP's approximation of GELU
