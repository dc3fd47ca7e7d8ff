// Package peer drives a client of gorilla's library by lines on standard input and answers each with a line:
//
//	dial URL [Header: value]   ok, or "refused" and the status
//	next                       the next frame: "text …", "binary …" in hex, "closed" and the code
//	close                      says goodbye as the articles' clients do, and waits for the answer
//
// All other lines are the article's own, and make frames.
package peer

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Say makes a frame of a line's words.
type Say func(words []string) (messageType int, payload []byte, err error)

// Show makes a line of a frame; "" for the frame as it is.
type Show func(messageType int, payload []byte) string

type peer struct {
	conn   *websocket.Conn
	frames chan string
	// Pongs are written by the reader: as the library demands, not beside another write.
	writing sync.Mutex
}

func Run(say Say, show Show) {
	p := &peer{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		fmt.Println(p.answer(lines.Text(), say, show))
	}
}

func (p *peer) answer(line string, say Say, show Show) string {
	words := strings.Split(line, " ")
	switch words[0] {
	case "dial":
		return p.dial(words[1], strings.Join(words[2:], " "), show)
	case "next":
		frame, open := <-p.frames
		if !open {
			return "gone"
		}
		return frame
	case "close":
		p.writing.Lock()
		err := p.conn.WriteMessage(websocket.CloseMessage,
			websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		p.writing.Unlock()
		return told(err)
	}
	messageType, payload, err := say(words)
	if err != nil {
		return told(err)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	return told(p.conn.WriteMessage(messageType, payload))
}

func (p *peer) dial(url string, header string, show Show) string {
	headers := http.Header{}
	if name, value, found := strings.Cut(header, ": "); found {
		headers.Set(name, value)
	}
	conn, response, err := websocket.DefaultDialer.Dial(url, headers)
	if err != nil {
		if response != nil {
			return fmt.Sprint("refused ", response.StatusCode)
		}
		return told(err)
	}
	p.conn = conn
	p.frames = make(chan string, 4096)
	conn.SetPingHandler(func(payload string) error {
		p.writing.Lock()
		defer p.writing.Unlock()
		return conn.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Second))
	})
	go read(conn, p.frames, show)
	return "ok"
}

func read(conn *websocket.Conn, frames chan string, show Show) {
	defer close(frames)
	for {
		messageType, message, err := conn.ReadMessage()
		if err != nil {
			if closed, is := err.(*websocket.CloseError); is {
				frames <- fmt.Sprint("closed ", closed.Code)
			} else {
				frames <- "lost " + err.Error()
			}
			return
		}
		line := show(messageType, message)
		if line == "" && messageType == websocket.TextMessage {
			line = "text " + string(message)
		} else if line == "" {
			line = "binary " + hex.EncodeToString(message)
		}
		frames <- line
	}
}

func told(err error) string {
	if err != nil {
		return "error " + err.Error()
	}
	return "ok"
}
