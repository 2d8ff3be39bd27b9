"""To which step a model's words belong, and who said them: they stand in an answer, and no process acts.

Words in the answer that asks for a tool call belong to that call's step: what came before them is what they can tell
of. Others belong to the step that came last before them.
"""

from __future__ import annotations

from remit.attribution.steps import Attributor
from remit.events import Turn
from remit.findings import Attribution, Origin


def attribution_of(attributor: Attributor, turn: Turn) -> Attribution:
    """The step of an answer, by the order of the evidence and by whose conversation it is."""
    began = [step for step in turn.steps if step in attributor.steps]
    if began:
        return _charged(attributor, began[0], "proven", f"said in the answer that asked for tool call {began[0]}")
    earlier = [record.id for record in attributor.history if turn.caller is None or record.caller == turn.caller]
    if earlier:
        return _charged(attributor, earlier[-1], "likely", f"said after {earlier[-1]} and before any other step")
    if turn.caller is not None and attributor.lineage.get(turn.caller) is not None:
        return attributor.of(turn.caller)
    return Attribution(None, "unknown", "said before any step", steps_in_force=attributor.in_force)


def origin_of_words(turn: Turn) -> Origin:
    """Who said it: the model, whose words passed the gateway, or whose words a harness outside the boundary gave."""
    way = "they passed the model gateway" if turn.source == "gateway" else "the harness outside the boundary gave them"
    return Origin(
        "agent", (f"these are the model's own words: {way}",), "the model provider's log, without these words"
    )


def _charged(attributor: Attributor, step: str, attribution: str, reason: str) -> Attribution:
    phase = attributor.steps[step].phase
    return Attribution(step, attribution, reason, birth_step=step, steps_in_force=attributor.in_force, phase=phase)
