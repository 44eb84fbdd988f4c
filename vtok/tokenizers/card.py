"""The model card that a saved model gets when nobody wrote one: facts only."""

from typing import TYPE_CHECKING, Any

from vtok.tokenizers.registry import GENERATORS

if TYPE_CHECKING:
    from vtok.tokenizers.pretrained import Pretrained

_CARD = """\
---
library_name: vtok
{licence}tags:
- vtok
- {tag}
---

# {title}

{what} Intended use, training data, metrics and limits: not stated.

| | |
|---|---|
{facts}

```{language}
{use}
```
"""
_TOKENIZER = "A `{family}` tokenizer for vtok: pictures to short strings of {strings} and back."
_GENERATOR = "A `{family}` generator for vtok: new strings of the tokenizer `{tokenizer}`, which makes pictures of them."


def model_card(model: "Pretrained", title: str, licence: str | None = None) -> str:
    """Markdown with the hub's header, the family, the spec and the code digest of a model."""
    is_generator = model.family in GENERATORS
    strings = "discrete tokens" if hasattr(model, "code_digest") else "latents"
    what = _GENERATOR.format(family=model.family, tokenizer=model.config.tokenizer) if is_generator else ""
    use = f"vtok generate ./{title} -o samples" if is_generator else f'import vtok\n\ntokenizer = vtok.load("./{title}")'
    return _CARD.format(
        tag="image-generation" if is_generator else "image-tokenizer",
        title=title,
        what=what or _TOKENIZER.format(family=model.family, strings=strings),
        language="" if is_generator else "python",
        use=f"{use}  # this folder; or its id on the hub",
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
