package nackproto

import (
	"fmt"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// Welcome answers HELLO. PROTOCOL.md §5.2.
//
//	version        u8
//	cluster        u64
//	index          uvarint  the server's head
//	heartbeat      uvarint  milliseconds
//	frame limit    uvarint  bytes, of frames that the client sends
//	unconfirmed    uvarint  publishes
//	subscriptions  uvarint
//	aliases        uvarint  of the client; its aliases are 1 to this
//	node           text
//	servers        uvarint count, that many texts
type Welcome struct {
	Version          uint8
	Cluster          stream.ClusterID
	Index            stream.Index
	Heartbeat        time.Duration // whole milliseconds
	MaxFrame         int
	MaxUnconfirmed   int
	MaxSubscriptions int
	MaxAliases       int
	Node             string
	Servers          []string
}

func (*Welcome) fromServer() {}

// Type gives TypeWelcome.
func (*Welcome) Type() Type { return TypeWelcome }

// AppendTo appends the frame.
func (f *Welcome) AppendTo(b []byte) []byte {
	b, start := begin(b, TypeWelcome)
	b = append(b, f.Version)
	b = appendU64(b, uint64(f.Cluster))
	b = appendUvarint(b, uint64(f.Index))
	b = appendUvarint(b, uint64(f.Heartbeat/time.Millisecond))
	b = appendUvarint(b, uint64(f.MaxFrame))
	b = appendUvarint(b, uint64(f.MaxUnconfirmed))
	b = appendUvarint(b, uint64(f.MaxSubscriptions))
	b = appendUvarint(b, uint64(f.MaxAliases))
	b = appendString(b, f.Node)
	b = appendStrings(b, f.Servers)
	return end(b, start)
}

func (f *Welcome) decode(r *reader) {
	r.at = "version"
	f.Version = r.u8()
	r.at = "cluster"
	f.Cluster = stream.ClusterID(r.u64())
	r.at = "index"
	f.Index = stream.Index(r.uvarint())
	r.at = "heartbeat"
	f.Heartbeat = r.milliseconds()
	r.at = "frame limit"
	f.MaxFrame = int(r.upto(1 << 30))
	r.at = "unconfirmed"
	f.MaxUnconfirmed = int(r.upto(1 << 30))
	r.at = "subscriptions"
	f.MaxSubscriptions = int(r.upto(1 << 30))
	r.at = "aliases"
	f.MaxAliases = int(r.upto(1 << 30))
	r.at = "node"
	f.Node = r.text(MaxText)
	r.at = "servers"
	f.Servers = r.servers()
	if r.bad == "" && f.Heartbeat == 0 {
		r.fail("heartbeat interval is zero")
	}
}

// String gives the text form.
func (f *Welcome) String() string {
	return fmt.Sprintf("WELCOME version=%d cluster=%016x index=%d heartbeat=%v frame=%d unconfirmed=%d subscriptions=%d aliases=%d node=%q servers=%q",
		f.Version, uint64(f.Cluster), f.Index, f.Heartbeat, f.MaxFrame, f.MaxUnconfirmed, f.MaxSubscriptions, f.MaxAliases, f.Node, f.Servers)
}
