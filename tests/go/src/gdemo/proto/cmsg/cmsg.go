// Package cmsg stands in for the article's: its messages, as protoc-gen-go 1.3 would write them, less what nobody calls.
package cmsg

import "github.com/golang/protobuf/proto"

type CReqLogin struct {
	AuthType int32  `protobuf:"varint,1,opt,name=authType,proto3"`
	Account  string `protobuf:"bytes,2,opt,name=account,proto3"`
	Password string `protobuf:"bytes,3,opt,name=password,proto3"`
}

func (m *CReqLogin) Reset()         { *m = CReqLogin{} }
func (m *CReqLogin) String() string { return proto.CompactTextString(m) }
func (*CReqLogin) ProtoMessage()    {}

type UserBrief struct {
	Name string `protobuf:"bytes,1,opt,name=name,proto3"`
}

func (m *UserBrief) Reset()         { *m = UserBrief{} }
func (m *UserBrief) String() string { return proto.CompactTextString(m) }
func (*UserBrief) ProtoMessage()    {}

type SRespLogin struct {
	ErrCode    int32      `protobuf:"varint,1,opt,name=errCode,proto3"`
	UserId     uint64     `protobuf:"varint,2,opt,name=userId,proto3"`
	Account    string     `protobuf:"bytes,3,opt,name=account,proto3"`
	UserBrief  *UserBrief `protobuf:"bytes,4,opt,name=userBrief,proto3"`
	ServerTime int64      `protobuf:"varint,5,opt,name=serverTime,proto3"`
}

func (m *SRespLogin) Reset()         { *m = SRespLogin{} }
func (m *SRespLogin) String() string { return proto.CompactTextString(m) }
func (*SRespLogin) ProtoMessage()    {}

type CReqMyData struct{}

func (m *CReqMyData) Reset()         { *m = CReqMyData{} }
func (m *CReqMyData) String() string { return proto.CompactTextString(m) }
func (*CReqMyData) ProtoMessage()    {}

type SRespMyData struct {
	Data string `protobuf:"bytes,1,opt,name=data,proto3"`
}

func (m *SRespMyData) Reset()         { *m = SRespMyData{} }
func (m *SRespMyData) String() string { return proto.CompactTextString(m) }
func (*SRespMyData) ProtoMessage()    {}

func init() {
	proto.RegisterType((*CReqLogin)(nil), "cmsg.CReqLogin")
	proto.RegisterType((*UserBrief)(nil), "cmsg.UserBrief")
	proto.RegisterType((*SRespLogin)(nil), "cmsg.SRespLogin")
	proto.RegisterType((*CReqMyData)(nil), "cmsg.CReqMyData")
	proto.RegisterType((*SRespMyData)(nil), "cmsg.SRespMyData")
}
