"""Distortion: the answer that is sent instead of the provider's, where a fault only changes the answer."""

import json

from simulator.answers import Answer
from simulator.fault import Act, Fault

_PAGE = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


def distorted(fault: Fault, answer: Answer) -> Answer:
    """Return what is sent where the fault only changes the answer; the acts of the wire leave it as it is."""
    match fault.act:
        case Act.STATUS:
            content_type = fault.headers.get("Content-Type", answer.content_type)
            headers = {k: v for k, v in fault.headers.items() if k.lower() != "content-type"}
            return Answer(fault.status or 503, answer.outcome, fault.body.encode() or None, headers, content_type)
        case Act.HTML:
            page = (fault.body or _PAGE.format(f"{fault.status or 502} from a machine in between")).encode()
            return Answer(fault.status or 502, answer.outcome, page, dict(fault.headers), "text/html; charset=utf-8")
        case Act.HUGE:
            members = answer.body if isinstance(answer.body, dict) else {}
            padding = "x" * max(0, fault.size - len(json.dumps(members)) - 15)
            return Answer(fault.status or answer.status, answer.outcome, members | {"padding": padding})
        case Act.PATCH:
            return _patched(fault, answer)
        case Act.REDIRECT:
            return Answer(fault.status or 307, answer.outcome, None, {"Location": fault.location})
        case _:
            return answer


def _patched(fault: Fault, answer: Answer) -> Answer:
    if not isinstance(answer.body, dict):
        return answer
    members = {k: v for k, v in (answer.body | fault.patch).items() if k not in fault.remove}
    return Answer(fault.status or answer.status, answer.outcome, members, answer.headers | fault.headers)
