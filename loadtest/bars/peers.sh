# Peers that a machine may have: each function starts one and sets pid and target (arguments for the load test); it returns
# with 1 where the peer is not there. Sourced by lib.sh.
# shellcheck shell=bash

# Debian: nginx-light and libnginx-mod-nchan; NCHAN_MODULES names the folder of its module where that is another.
peer_nchan() {
    local nginx port modules=${NCHAN_MODULES:-/usr/lib/nginx/modules}
    nginx=$(PATH=$PATH:/usr/sbin command -v nginx) || return 1
    [ -e $modules/ngx_nchan_module.so ] || return 1
    port=$(free_port)
    mkdir -p "$work/nchan"
    sed -e "s|@WORK@|$work/nchan|g" -e "s|@PORT@|$port|g" -e "s|@MODULES@|$modules|g" \
        "$root/loadtest/bars/nchan.conf" >"$work/nchan.conf"
    "$nginx" -c "$work/nchan.conf" 2>"$work/nchan.log" &
    pids+=("$!")
    wait_for_port "$port"
    # The one worker.
    pid=$(pgrep -P "$!")
    target=(--target nchan --url "ws://127.0.0.1:$port" --api "http://127.0.0.1:$port")
}

# `cargo install sockudo`, or named by SOCKUDO.
peer_sockudo() {
    local sockudo port
    sockudo=${SOCKUDO:-$(command -v sockudo)} || return 1
    port=$(free_port)
    HOST=127.0.0.1 PORT=$port METRICS_ENABLED=false LOG_LEVEL=error RATE_LIMITER_ENABLED=false \
        SOCKUDO_DEFAULT_APP_ENABLED=true SOCKUDO_DEFAULT_APP_ID=app-id SOCKUDO_DEFAULT_APP_KEY=app-key \
        SOCKUDO_DEFAULT_APP_SECRET=app-secret SOCKUDO_DEFAULT_APP_MAX_CONNECTIONS=100000 \
        "$sockudo" >"$work/sockudo.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    wait_for_port "$port"
    target=(--target pusher --url "ws://127.0.0.1:$port" --api "http://127.0.0.1:$port")
}

# The hub of article 004, built from its text with Go and gorilla/websocket; named by HUB, which takes its address as its
# argument.
peer_hub() {
    local port
    [ -x "${HUB:-}" ] || return 1
    port=$(free_port)
    "$HUB" "127.0.0.1:$port" >"$work/hub.log" 2>&1 &
    pid=$!
    pids+=("$pid")
    wait_for_port "$port"
    target=(--target ws-id --url "ws://127.0.0.1:$port/ws")
}

wait_for_port() {
    for _ in $(seq 200); do
        (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return
        sleep 0.05
    done
    fail "nothing listens on port $1"
}
