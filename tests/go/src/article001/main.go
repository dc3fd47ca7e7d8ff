// The client of article 001: protobuf messages in binary frames, which it marshals as the article does.
package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/golang/protobuf/proto"
	"github.com/gorilla/websocket"

	"peer"
)

// As protoc-gen-go writes it.
type Message struct {
	Avatar       string `protobuf:"bytes,1,opt,name=avatar,proto3"`
	FromUsername string `protobuf:"bytes,2,opt,name=fromUsername,proto3"`
	From         string `protobuf:"bytes,3,opt,name=from,proto3"`
	To           string `protobuf:"bytes,4,opt,name=to,proto3"`
	Content      string `protobuf:"bytes,5,opt,name=content,proto3"`
	ContentType  int32  `protobuf:"varint,6,opt,name=contentType,proto3"`
	Type         string `protobuf:"bytes,7,opt,name=type,proto3"`
	MessageType  int32  `protobuf:"varint,8,opt,name=messageType,proto3"`
	Url          string `protobuf:"bytes,9,opt,name=url,proto3"`
	FileSuffix   string `protobuf:"bytes,10,opt,name=fileSuffix,proto3"`
	File         []byte `protobuf:"bytes,11,opt,name=file,proto3"`
}

func (m *Message) Reset()         { *m = Message{} }
func (m *Message) String() string { return proto.CompactTextString(m) }
func (*Message) ProtoMessage()    {}

func main() { peer.Run(say, show) }

func say(words []string) (int, []byte, error) {
	msg := &Message{}
	switch words[0] {
	case "heartbeat":
		msg.Type = "heatbeat"
	case "say": // say FROM TO MESSAGETYPE TEXT…
		kind, _ := strconv.Atoi(words[3])
		*msg = Message{Avatar: "a.png", FromUsername: "name of " + words[1], From: words[1], To: words[2],
			Content: strings.Join(words[4:], " "), ContentType: 1, MessageType: int32(kind)}
	case "file": // file FROM TO SIZE
		size, _ := strconv.Atoi(words[3])
		*msg = Message{From: words[1], To: words[2], Content: "a.bin", ContentType: 2, MessageType: 1,
			FileSuffix: "bin", File: make([]byte, size)}
	case "signal": // signal FROM TO TEXT
		*msg = Message{From: words[1], To: words[2], Content: words[3], ContentType: 7, Type: "webrtc", MessageType: 1}
	default:
		return 0, nil, fmt.Errorf("no such line")
	}
	payload, err := proto.Marshal(msg)
	return websocket.BinaryMessage, payload, err
}

func show(messageType int, payload []byte) string {
	msg := &Message{}
	if messageType != websocket.BinaryMessage {
		return "no binary frame"
	}
	if err := proto.Unmarshal(payload, msg); err != nil {
		return "unreadable " + err.Error()
	}
	return fmt.Sprintf("from=%s to=%s content=%s type=%d/%s/%d name=%s file=%d",
		msg.From, msg.To, msg.Content, msg.ContentType, msg.Type, msg.MessageType, msg.FromUsername, len(msg.File))
}
