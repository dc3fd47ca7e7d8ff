// Drives the article's client by words on standard input, one line each, and answers each with a line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"gdemo/proto/cmsg"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		var answer fmt.Stringer
		var err error
		switch words[0] {
		case "article":
			article()
		case "login":
			request := &cmsg.CReqLogin{Account: words[1]}
			if len(words) > 2 {
				request.Password = words[2]
			}
			answer, err = login(request)
		case "message":
			reply := &cmsg.SRespMyData{}
			err = message(&cmsg.CReqMyData{}, reply)
			answer = reply
		case "token":
			fmt.Println("token", token)
			continue
		}
		if err != nil {
			fmt.Println("error", err)
		} else {
			fmt.Println("ok", answer)
		}
	}
}
