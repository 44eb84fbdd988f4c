"""The model card that a saved model gets when nobody wrote one: facts only."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtok.tokenizers.pretrained import Pretrained

_CARD = """\
---
library_name: vtok
{licence}tags:
- vtok
- image-tokenizer
---

# {title}

A `{family}` tokenizer for vtok: pictures to short strings of {strings} and back. Intended use, training data, metrics and limits:
not stated.

| | |
|---|---|
{facts}

```python
import vtok

tokenizer = vtok.load("./{title}")  # this folder; or its id on the hub
```
"""


def model_card(model: "Pretrained", title: str, licence: str | None = None) -> str:
    """Markdown with the hub's header, the family, the spec and the code digest of a model."""
    return _CARD.format(
        title=title,
        family=model.family,
        strings="discrete tokens" if hasattr(model, "code_digest") else "latents",
        licence=f"license: {licence}\n" if licence else "",
        facts="\n".join(f"| {name} | {value} |" for name, value in _facts(model).items()),
    )


def _facts(model: "Pretrained") -> dict[str, str]:
    facts = {"family": model.family}
    if spec := getattr(model, "spec", None):
        known = {name: value for name, value in spec.to_json().items() if value is not None}
        facts |= {name.replace("_", " "): _text(value) for name, value in known.items()}
    if digest := getattr(model, "code_digest", None):
        facts["code digest"] = f"`{digest}`"
    return facts


def _text(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return str(value)
    shown = [_text(v) for v in value]
    return ", ".join(shown if len(shown) <= 8 else [*shown[:3], "...", shown[-1]])
