// The clients of article 002: gorilla's own echo client, which sends the time as text, and the article's, which sends an
// opcode and bytes.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"peer"
)

func main() { peer.Run(say, show) }

func say(words []string) (int, []byte, error) {
	switch words[0] {
	case "time":
		return websocket.TextMessage, []byte(time.Now().String()), nil
	case "text":
		return websocket.TextMessage, []byte(strings.Join(words[1:], " ")), nil
	case "frame": // frame OPCODE TEXT
		opcode, _ := strconv.ParseUint(words[1], 10, 32)
		buf := bytes.NewBuffer([]byte{})
		binary.Write(buf, binary.BigEndian, uint32(opcode))
		binary.Write(buf, binary.BigEndian, []byte(strings.Join(words[2:], " ")))
		return websocket.BinaryMessage, buf.Bytes(), nil
	case "short":
		return websocket.BinaryMessage, []byte{0, 0, 1}, nil
	}
	return 0, nil, fmt.Errorf("no such line")
}

func show(int, []byte) string { return "" }
