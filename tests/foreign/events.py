"""Reads a stream of events with httpx-sse, and prints each as a line of JSON: events.py URL [LAST_EVENT_ID]"""

import json
import sys

import httpx
from httpx_sse import connect_sse

headers = {"Last-Event-ID": sys.argv[2]} if len(sys.argv) > 2 else {}
with httpx.Client(timeout=60) as client:
    with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
        for event in source.iter_sse():
            print(json.dumps({"event": event.event, "data": event.data, "id": event.id}), flush=True)
