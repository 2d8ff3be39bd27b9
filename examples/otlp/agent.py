"""A program that tells of its tool calls by OpenTelemetry, as frameworks that are instrumented do by themselves."""

from __future__ import annotations

import json
import subprocess

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("example")

for number, line in enumerate(["echo one > one.txt", "cat one.txt && date > two.txt"], start=1):
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "bash",
        "gen_ai.tool.call.id": f"call_{number}",
        "gen_ai.tool.call.arguments": json.dumps({"line": line}),
    }
    with tracer.start_as_current_span("execute_tool bash", attributes=attributes):
        subprocess.run(["bash", "-c", line], stdout=subprocess.DEVNULL, check=True)
provider.shutdown()
print("Done.")
