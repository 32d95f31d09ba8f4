"""JSON log lines."""

import json
import logging

from lambda_app.core.logs import JsonFormatter, request_id


def line_of(record: logging.LogRecord) -> dict[str, object]:
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line: dict[str, object] = json.loads(text)
    return line


def test_record_is_one_json_line_with_the_request_id() -> None:
    token = request_id.set("abc")
    record = logging.makeLogRecord({"name": "lambda_app.x", "levelname": "INFO", "msg": "hello %s", "args": ("you\nthere",)})
    record.fields = {"status": 200}

    line = line_of(record)
    request_id.reset(token)

    assert line["message"] == "hello you\nthere"
    assert (line["level"], line["logger"], line["status"], line["request_id"]) == ("INFO", "lambda_app.x", 200, "abc")


def test_stack_trace_is_part_of_the_json_line() -> None:
    error = ValueError("inner")

    record = logging.makeLogRecord({"msg": "failed", "exc_info": (type(error), error, None)})

    assert "ValueError: inner" in str(line_of(record)["exception"])


def test_record_outside_a_request_has_no_request_id() -> None:
    assert "request_id" not in line_of(logging.makeLogRecord({"msg": "start"}))
