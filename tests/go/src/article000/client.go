// The Go client of the first reference article, as it stands there, but for its addresses, which come from the
// environment, and the name of its main function.
package main

import (
    "bytes"
    "encoding/json"
    "errors"
    "fmt"
    "gdemo/baselib/util"
    "gdemo/proto/cmsg"
    "github.com/golang/protobuf/proto"
    "github.com/sirupsen/logrus"
    "io"
    "io/ioutil"
    "net/http"
    "os"
    "time"
)

var (
    loginUrl   = "http://" + os.Getenv("HERALD") + "/login"
    messageUrl = "http://" + os.Getenv("HERALD") + "/message"
    refreshUrl = "http://" + os.Getenv("HERALD") + "/refresh"
)

var (
    token  string
    client = &http.Client{Timeout: 10 * time.Second} // 全局 HTTP 客户端，设置超时
)

type RequestBody struct {
    MsgID uint32 `json:"msg_id"`
    Bytes []byte `json:"bytes"`
}

func article() {
    sRespLogin, err := login(&cmsg.CReqLogin{Account: "zbj"})
    if err != nil {
       logrus.Error("登录失败：", err)
       return
    }

    logrus.Info("登录成功 ：", sRespLogin)

    resp2 := &cmsg.SRespMyData{}
    err = message(&cmsg.CReqMyData{}, resp2)
    if err != nil {
       logrus.Error("message err:", err)
       return
    }
    logrus.Info(resp2)
}

func login(reqLogin *cmsg.CReqLogin) (*cmsg.SRespLogin, error) {
    data, err := marshalMessage(reqLogin)
    if err != nil {
       return nil, err
    }

    resp, err := makeRequestWithJWT(loginUrl, token, bytes.NewReader(data))
    if err != nil {
       return nil, err
    }
    defer closeResponseBody(resp.Body)

    if resp.StatusCode != http.StatusOK {
       return nil, fmt.Errorf("error response from server: %s", readBody(resp.Body))
    }

    token = resp.Cookies()[0].Value // 获取 cookie 中的 token

    sRespMsg := &cmsg.SRespLogin{}
    return sRespMsg, unmarshalMessage(readBody(resp.Body), sRespMsg)
}

// refreshToken 用于刷新 JWT Token
func refreshToken() error {
    req, err := http.NewRequest("POST", refreshUrl, nil)
    if err != nil {
       return err
    }

    // 将旧的 Token 放在请求头中
    req.Header.Set("Authorization", "Bearer "+token)

    resp, err := client.Do(req)
    if err != nil {
       return err
    }
    defer closeResponseBody(resp.Body)

    if resp.StatusCode != http.StatusOK {
       return fmt.Errorf("error response from server: %s", readBody(resp.Body))
    }

    // 从 cookie 中取新的token
    cookies := resp.Cookies()
    if !(len(cookies) >= 1 && cookies[0].Name == "token") {
       return errors.New("no token in cookie")
    }

    token = cookies[0].Value
    return nil
}

// 修改后的 message 函数，以处理 Token 过期的情况
func message(reqMsg proto.Message, respMsg proto.Message) error {
    data, err := marshalMessage(reqMsg)
    if err != nil {
       return err
    }

    resp, err := makeRequestWithJWT(messageUrl, token, bytes.NewReader(data))
    if err != nil {
       return err
    }
    defer closeResponseBody(resp.Body)

    // 检查 Token 是否过期
    if resp.StatusCode == http.StatusUnauthorized {
       logrus.Error("token 过期")
       // 尝试刷新 Token
       if err := refreshToken(); err != nil {
          return err
       }
       logrus.Error("token 刷新")
       // 用新的 Token 重试请求
       return message(reqMsg, respMsg)
    }

    if resp.StatusCode != http.StatusOK {
       return fmt.Errorf("error response from server: %s", readBody(resp.Body))
    }

    return unmarshalMessage(readBody(resp.Body), respMsg)
}

func marshalMessage(msg proto.Message) ([]byte, error) {
    msgID := util.StringHash(proto.MessageName(msg))
    data, err := proto.Marshal(msg)
    if err != nil {
       return nil, err
    }

    creds := &RequestBody{
       MsgID: msgID,
       Bytes: data,
    }

    return json.Marshal(creds)
}

func unmarshalMessage(data []byte, msg proto.Message) error {
    creds := &RequestBody{}
    if err := json.Unmarshal(data, creds); err != nil {
       return err
    }
    return proto.UnmarshalMerge(creds.Bytes, msg)
}

func makeRequestWithJWT(url, token string, body io.Reader) (*http.Response, error) {
    req, err := http.NewRequest("POST", url, body)
    if err != nil {
       return nil, err
    }

    req.Header.Set("Authorization", "Bearer "+token)
    req.Header.Set("Content-Type", "application/json")

    return client.Do(req)
}

func closeResponseBody(body io.ReadCloser) {
    if err := body.Close(); err != nil {
       logrus.Warn("Failed to close response body: ", err)
    }
}

func readBody(body io.ReadCloser) []byte {
    data, err := ioutil.ReadAll(body)
    if err != nil {
       logrus.Warn("Failed to read response body: ", err)
       return nil
    }
    return data
}
