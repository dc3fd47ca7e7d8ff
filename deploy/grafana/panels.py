"""What the dashboard shows, row by row. Each panel has a unit and says what it tells; `$job` and `$instance` are its variables.

Counters that no event has touched yet are not there: such queries end in `or vector(0)`, so that rest is not shown as "no data".
"""

NODES = 'job=~"$job", instance=~"$instance"'
RATE = "[$__rate_interval]"


def rate(metric: str, by: str = "", labels: str = "") -> str:
    """Events a second, added up by some labels."""
    labels = f"{NODES}, {labels}" if labels else NODES
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{labels}}}{RATE}))"


def quantiles(metric: str, labels: str = "") -> list[tuple[str, str]]:
    labels = f"{NODES}, {labels}" if labels else NODES
    return [
        (f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{labels}}}{RATE})))", name)
        for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def graph(title: str, unit: str, description: str, *queries: tuple[str, str], width: int = 8, **more) -> dict:
    return {"title": title, "unit": unit, "description": description, "queries": list(queries), "width": width, "height": 8, **more}


def stat(title: str, unit: str, description: str, query: str, **more) -> dict:
    return {"kind": "stat", "title": title, "unit": unit, "description": description, "queries": [(query, "")], "width": 4, "height": 4, **more}


OVERVIEW = [
    stat("Gateways that answer", "short", "Of which Prometheus has figures.", 'count(up{job="herald-gateway"} == 1) or vector(0)',
         thresholds=[]),
    stat("Routers that serve", "short", "That take commands now. At 0 nothing can be sent.", "sum(herald_router_serving) or vector(0)",
         thresholds=[]),
    stat("Nodes without NATS", "short", "Not connected, or without the streams.", "count(herald_bus_ready == 0) or vector(0)",
         thresholds=[("red", 1)]),
    stat("Connections", "short", "Open now, on all nodes.", "sum(herald_gateway_connections) or vector(0)"),
    stat("Delivery p99", "s", "From the router to the receivers' sockets, the last 5 minutes.",
         "cluster:herald_gateway_delivery_seconds:p99", thresholds=[("orange", 0.25), ("red", 1)]),
    stat("Alerts", "short", "That fire now.", 'count(ALERTS{alertstate="firing", alertname=~"Herald.*"}) or vector(0)', thresholds=[("red", 1)]),
]

CONNECTIONS = [
    graph("Connections by node", "short", "Open connections, in all states.",
          (f"sum by (instance) (herald_gateway_connections{{{NODES}}})", "{{instance}}"), stacked=True),
    graph("Connections by dialect and state", "short", "connecting: the client is not known yet. closing: what waits is still being written.",
          (f"sum by (dialect, state) (herald_gateway_connections{{{NODES}}})", "{{dialect}} {{state}}")),
    graph("Of what a node takes", "percentunit", "Connections to limits.connections, or to what the file descriptors allow. Beyond it clients get 503.",
          (f"instance:herald_gateway_connections:ratio{{{NODES}}}", "{{instance}}"), thresholds=[("red", 0.85)]),
    graph("Connects", "cps", "Connections whose client became known, a second, by dialect. A peak after a restart is a drain's clients coming back.",
          (rate("herald_gateway_connects_total", "dialect"), "{{dialect}}")),
    graph("Closes by code", "cps", "4000 drain, 4001 slow, 4002 token expired, 4003 no pong, 4004 rate, 4005 not available, 41xx for good, peer: the client went.",
          (rate("herald_gateway_closes_total", "code") + " or vector(0)", "{{code}}")),
    graph("Refused by reason", "cps", "Upgrades and requests that were not let in. node_…, descriptors and memory are the node's own want of room.",
          (rate("herald_gateway_refused_upgrades_total", "reason") + " or vector(0)", "{{reason}}")),
]

MESSAGES = [
    graph("In", "mps", "Messages handed to the routers a second, by sender and kind of target.",
          (rate("herald_gateway_messages_received_total", "from, to"), "{{from}} to {{to}}")),
    graph("Out", "mps", "Put into connections' outboxes a second, one for each receiver, by kind of target and durability.",
          (rate("herald_gateway_messages_delivered_total", "to, durable"), "{{to}} durable={{durable}}")),
    graph("Receivers of a message", "short", "Connections of one node that a message was for, by kind of target, on average.",
          (f"{rate('herald_gateway_fanout_receivers_sum', 'to')} / ({rate('herald_gateway_fanout_receivers_count', 'to')} > 0) or vector(0)", "{{to}}")),
    graph("Not given to a receiver", "mps", "slow_consumer: ephemeral, its outbox was full. closing: it was going. expired: the ttl was over.",
          (rate("herald_gateway_dropped_pushes_total", "reason"), "{{reason}}")),
    graph("Bytes out", "Bps", "Written to WebSockets and streams of events.",
          (rate("herald_gateway_sent_bytes_total", "instance"), "{{instance}}")),
    graph("Waiting in outboxes", "bytes", "Of all connections of a node, and of the one that has most. Near limits.outbox it is closed or loses ephemeral messages.",
          (f"herald_gateway_outbox_bytes{{{NODES}}}", "{{instance}} all"),
          (f"herald_gateway_outbox_largest_bytes{{{NODES}}}", "{{instance}} largest")),
    graph("Commands", "reqps", "What clients ask for, a second.",
          (rate("herald_gateway_commands_total", "verb"), "{{verb}}"), width=12),
    graph("Commands that routers refused or failed", "reqps", "By outcome. unavailable and timeout are ours, the others mostly the clients'.",
          (rate("herald_gateway_router_requests_total", "outcome", 'outcome!="ok"') + " or vector(0)", "{{outcome}}"), width=12),
]

LATENCY = [
    graph("Delivery", "s", "From a message's acceptance at the router until it is written to its receivers' sockets. By the clocks of both.",
          *quantiles("herald_gateway_delivery_seconds"), thresholds=[("red", 1)]),
    graph("Until queued, by target", "s", "The part of it until it is in all receivers' outboxes on a node: p99.",
          (f"histogram_quantile(0.99, sum by (le, to) (rate(herald_gateway_queued_seconds_bucket{{{NODES}}}{RATE})))", "{{to}}")),
    graph("Gateway to router and back", "s", "From a command to a router's answer; for durable messages the append is in it.",
          *quantiles("herald_gateway_router_seconds")),
    graph("Inside a router, by verb", "s", "From a command's arrival to its answer: p99.",
          (f"histogram_quantile(0.99, sum by (le, verb) (rate(herald_router_command_seconds_bucket{{{NODES}}}{RATE})))", "{{verb}}")),
    graph("Append to the log", "s", "Until NATS has acknowledged it: with three servers, until two have written it.",
          *quantiles("herald_router_log_append_seconds")),
    {"kind": "heatmap", "title": "Delivery, all of it", "unit": "s", "width": 8, "height": 8,
     "description": "Where the quantiles come from: two humps are two kinds of receivers, or two nodes.",
     "queries": [(f"sum by (le) (increase(herald_gateway_delivery_seconds_bucket{{{NODES}}}{RATE}))", "{{le}}")]},
]

DURABILITY = [
    graph("Appends by outcome", "ops", "duplicate: a retry whose first attempt had been stored. All others but stored are failures.",
          (rate("herald_router_log_appends_total", "outcome"), "{{outcome}}")),
    graph("Bytes stored", "Bps", "Bodies only. Times log.max_age it says what the disks must hold, three times.",
          (rate("herald_router_log_appended_bytes_total", "instance"), "{{instance}}")),
    graph("Who came back", "cps", "With a cursor. not_resumed: another log. resumed_with_gap: something may be gone for good.",
          (rate("herald_gateway_resumes_total", "outcome") + " or vector(0)", "{{outcome}}")),
    graph("Gaps told", "short", "Connections that were told so, within 10 minutes. Should be 0.",
          (f"sum by (told) (increase(herald_gateway_gaps_total{{{NODES}}}[10m]))", "{{told}}"), thresholds=[("red", 1)]),
    graph("Replayed", "mps", "Messages from the log, for those who had been away or behind.",
          (rate("herald_gateway_messages_replayed_total", "instance"), "{{instance}}")),
    graph("Holes", "ops", "Live copies that were lost and read from the log. given up: the log did not have them.",
          (rate("herald_gateway_holes_total"), "closed"), (rate("herald_gateway_holes_given_up_total"), "given up"),
          (rate("herald_gateway_live_duplicates_total"), "copies that came twice")),
    graph("Sweeps", "s", "How long one takes, p99; it comes every 5 s.",
          (f"histogram_quantile(0.99, sum by (le, instance) (rate(herald_gateway_sweep_seconds_bucket{{{NODES}}}{RATE})))", "{{instance}}")),
    graph("Behind the furthest node", "short", "Messages of the log that a node has not yet made sure of, and another has.",
          ("scalar(max(herald_gateway_watermark)) - herald_gateway_watermark{" + NODES + "}", "{{instance}}")),
    graph("Targets", "short", "Users, groups and broadcasts that a node follows: NATS holds a subscription for each.",
          (f"herald_gateway_targets{{{NODES}}}", "{{instance}}")),
]

PRESENCE = [
    graph("Online", "short", "Users in the whole cluster, as each router knows it. Routers that differ for more than seconds are worth a look.",
          (f"herald_router_users_online{{{NODES}}}", "{{instance}}")),
    graph("Users of a node", "short", "With at least one connection there.",
          (f"herald_gateway_users{{{NODES}}}", "{{instance}}")),
    graph("Groups and sessions", "short", "Groups with members, and HTTP sessions that last, in the whole cluster.",
          (f"max(herald_router_groups{{{NODES}}})", "groups"), (f"max(herald_router_sessions{{{NODES}}})", "sessions")),
    graph("Written", "wps", "Keys of users (at changes only), and leases (one each 3.3 s and node).",
          (rate("herald_gateway_presence_writes_total", "kind"), "{{kind}}")),
    graph("Told", "cps", "Changes that connections were told of, and how many users are watched.",
          (rate("herald_gateway_presence_pushes_total"), "changes a second"), (f"sum(herald_gateway_watches{{{NODES}}})", "watches")),
    graph("Age of leases", "s", "Beyond 10 s a node's users count as offline.",
          (f"herald_gateway_lease_age_seconds{{{NODES}}}", "{{instance}}"), thresholds=[("red", 10)]),
]

SERVICES = [
    graph("HTTP requests", "reqps", "On the public listener, by path and status.",
          (rate("herald_gateway_http_requests_total", "path, status"), "{{path}} {{status}}")),
    graph("Logins and refreshes", "cps", "By outcome.",
          (rate("herald_gateway_logins_total", "outcome") + " or vector(0)", "login {{outcome}}"),
          (rate("herald_gateway_refreshes_total", "outcome") + " or vector(0)", "refresh {{outcome}}")),
    graph("Sessions", "cps", "Begun, and ended before their time, by reason.",
          (rate("herald_gateway_sessions_created_total") + " or vector(0)", "begun"),
          (rate("herald_gateway_sessions_ended_total", "reason") + " or vector(0)", "ended: {{reason}}")),
    graph("Calls to backends", "reqps", "By service and outcome.",
          (rate("herald_gateway_calls_total", "service, outcome") + " or vector(0)", "{{service}} {{outcome}}")),
    graph("Backends' time", "s", "From a call to its end, by service: p99.",
          (f"histogram_quantile(0.99, sum by (le, service) (rate(herald_gateway_call_seconds_bucket{{{NODES}}}{RATE}))) or vector(0)", "{{service}}")),
    graph("Calls under way", "short", "At calls_in_flight, or at a service's in_flight, the next is answered with unavailable.",
          (f"herald_gateway_calls_in_flight{{{NODES}}} or vector(0)", "{{instance}}")),
]

NATS = [
    graph("Can be used", "bool_yes_no", "1 while the bus can be used, its streams included.",
          (f"herald_bus_ready{{{NODES}}}", "{{instance}}")),
    graph("Conditions", "bool_yes_no", "All that must hold for a node to be ready, as /health/ready?verbose names it.",
          (f"min by (instance, condition) (herald_ready_condition{{{NODES}}})", "{{instance}} {{condition}}")),
    graph("NATS' servers", "bool_yes_no", "1 while healthy, as haproxy finds them by /healthz.",
          ('max by (server) (haproxy_server_status{proxy="nats", state="UP"})', "{{server}}")),
    graph("Gateways, as haproxy finds them", "bool_yes_no", "1 while /health/ready says so: it gets new clients.",
          ('max by (server) (haproxy_server_status{proxy="gateways", state="UP"})', "{{server}}")),
    graph("Connections lost and made", "short", "Within 10 minutes. Each one made is followed by a sweep.",
          (f"increase(herald_bus_disconnects_total{{{NODES}}}[10m])", "{{instance}} lost"),
          (f"increase(herald_bus_connects_total{{{NODES}}}[10m])", "{{instance}} made"),
          (f"increase(herald_bus_live_connects_total{{{NODES}}}[10m])", "{{instance}} made for live copies")),
    graph("Refused by NATS", "cps", "Attempts to connect that failed. other: no server there.",
          (rate("herald_bus_refusals_total", "reason"), "{{reason}}")),
    graph("Slow consumers", "mps", "Messages from NATS that were dropped, for a subscription of this node was full. Durable ones come by the sweep.",
          (rate("herald_bus_slow_consumers_total", "instance"), "{{instance}}")),
    graph("Waiting for answers", "short", "Calls over NATS that wait for theirs.",
          (f"herald_bus_waiting_calls{{{NODES}}}", "{{instance}}")),
    graph("Asked a second time", "reqps", "Commands that no router answered in time: a router has died, or NATS is slow.",
          (rate("herald_gateway_router_retries_total", "instance"), "{{instance}}")),
]

PROCESS = [
    graph("CPU", "percentunit", "1 is one core.", (f"rate(process_cpu_seconds_total{{{NODES}}}{RATE})", "{{instance}}")),
    graph("Memory", "bytes", "Resident.", (f"process_resident_memory_bytes{{{NODES}}}", "{{instance}}")),
    graph("File descriptors", "percentunit", "Of what the process may open.", (f"instance:process_fds:ratio{{{NODES}}}", "{{instance}}"),
          thresholds=[("red", 0.85)]),
    graph("Runtime busy", "percentunit", "The part of their time that the threads were busy. Near 1 everything waits.",
          (f"herald_runtime_busy_ratio{{{NODES}}}", "{{instance}}"), thresholds=[("red", 0.85)]),
    graph("Tasks", "short", "That live, and that wait for a thread.",
          (f"herald_runtime_tasks{{{NODES}}}", "{{instance}} live"), (f"herald_runtime_queued_tasks{{{NODES}}}", "{{instance}} waiting")),
    graph("Up for", "s", "Since the process' start, and since its configuration was read.",
          (f"time() - process_start_time_seconds{{{NODES}}}", "{{instance}} started"),
          (f"time() - herald_config_last_reload_timestamp_seconds{{{NODES}}}", "{{instance}} configured")),
    graph("Versions", "short", "How many nodes run which: two at one time is an upgrade under way.",
          (f"count by (binary, version) (herald_build_info{{{NODES}}})", "{{binary}} {{version}}"), width=12),
    graph("Certificates", "s", "Until they end. Without TLS: 0.",
          (f"herald_gateway_tls_certificate_expires_timestamp_seconds{{{NODES}}} - time() or vector(0)", "{{instance}} {{listener}}"),
          width=12),
]

ROWS = [
    ("Overview", OVERVIEW),
    ("Connections", CONNECTIONS),
    ("Messages", MESSAGES),
    ("Latency", LATENCY),
    ("Durability and coming back", DURABILITY),
    ("Presence", PRESENCE),
    ("HTTP and backends", SERVICES),
    ("NATS", NATS),
    ("Process and runtime", PROCESS),
]
