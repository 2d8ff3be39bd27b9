"""A model that asks for one command after the other, in place of one that is asked over the network."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from agents import Model, ModelResponse, Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText


class Scripted(Model):
    """Each turn one call of `bash`; then it says that it is done."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    async def get_response(self, *asked: Any, **more: Any) -> ModelResponse:
        if not self._lines:
            text = ResponseOutputText(text="Done.", type="output_text", annotations=[])
            said: Any = ResponseOutputMessage(
                id="message", content=[text], role="assistant", status="completed", type="message"
            )
        else:
            line = self._lines.pop(0)
            said = ResponseFunctionToolCall(
                name="bash",
                call_id=f"call_{len(self._lines)}",
                arguments=json.dumps({"line": line}),
                type="function_call",
            )
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *asked: Any, **more: Any) -> AsyncIterator[Any]:
        raise NotImplementedError
