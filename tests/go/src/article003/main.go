// The client of article 003: JSON texts, the first of which logs in.
package main

import (
	"strings"

	"github.com/gorilla/websocket"

	"peer"
)

func main() { peer.Run(say, show) }

// Every line is a frame.
func say(words []string) (int, []byte, error) {
	return websocket.TextMessage, []byte(strings.Join(words, " ")), nil
}

func show(int, []byte) string { return "" }
