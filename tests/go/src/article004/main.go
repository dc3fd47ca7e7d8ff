// The client of article 004: its Message as JSON.
package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gorilla/websocket"

	"peer"
)

type Message struct {
	Type     uint64 `json:"type"`     // 消息类型
	Sender   uint64 `json:"sender"`   // 发送者的id
	Receiver uint64 `json:"receiver"` // 接收者的id
	Content  string `json:"content"`  // 消息内容
}

func main() { peer.Run(say, show) }

func say(words []string) (int, []byte, error) {
	switch words[0] {
	case "message": // message TYPE SENDER RECEIVER CONTENT…
		msg := Message{Type: number(words[1]), Sender: number(words[2]), Receiver: number(words[3]),
			Content: strings.Join(words[4:], " ")}
		payload, err := json.Marshal(msg)
		return websocket.TextMessage, payload, err
	case "binary":
		return websocket.BinaryMessage, []byte(strings.Join(words[1:], " ")), nil
	case "text":
		return websocket.TextMessage, []byte(strings.Join(words[1:], " ")), nil
	}
	return 0, nil, fmt.Errorf("no such line")
}

func number(word string) uint64 {
	number, _ := strconv.ParseUint(word, 10, 64)
	return number
}

func show(int, []byte) string { return "" }
