package bridge

import (
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// A frame is a PUBLISH ready to be copied into a connection's buffer.
type frame struct {
	bytes []byte
	at    int // where the packet id goes; 0: there is none
	alias int // where the topic alias goes; 0: there is none
}

// A message is one on its way out, with the frames that its receivers share. A
// frame is made when the first receiver needs it. Messages belong to the loop
// and are used again; the frames' bytes keep their capacity.
type message struct {
	stream.Message
	props    stream.Props // of Message.Props
	parsed   bool
	expired  bool
	left     uint32 // seconds that are left of its life; 0: for ever
	frames   [2][3][2]frame
	variants [2][aliasUses][3][2]frame // see variant
	varied   bool                      // there are any in variants
	position string                    // values of the user properties, while one is encoded with them
	index    string
}

// reset begins anew with m at the time now, Unix milliseconds by the log's clock.
func (m *message) reset(of stream.Message, now int64) {
	m.Message = of
	m.parsed = false
	m.expired = of.ExpiredAt(now)
	m.left = 0
	if of.Expiry != 0 {
		// At least a second, since 0 stands for no expiry here, and never more than it
		// was: the message may be younger than what the loop knows of the log.
		m.left = uint32(min(max(1, (of.Time+int64(of.Expiry)*1000-now+999)/1000), int64(of.Expiry)))
	}
	for v := range m.frames {
		for q := range m.frames[v] {
			for r := range m.frames[v][q] {
				m.frames[v][q][r].bytes = m.frames[v][q][r].bytes[:0]
			}
		}
	}
	if m.varied {
		m.varied = false
		for w := range m.variants {
			for a := range m.variants[w] {
				for q := range m.variants[w][a] {
					for r := range m.variants[w][a][q] {
						m.variants[w][a][q][r].bytes = m.variants[w][a][q][r].bytes[:0]
					}
				}
			}
		}
	}
}

// shared gives the frame for receivers of one version, QoS and retain bit who
// need nothing of their own in it.
func (m *message) shared(v5 bool, qos byte, retain bool) *frame {
	f := &m.frames[b2i(v5)][qos][b2i(retain)]
	if len(f.bytes) == 0 {
		m.encode(f, v5, qos, retain, own{})
	}
	return f
}

// variant is shared for receivers of MQTT 5 who want the message's position in it,
// or its topic by an alias.
func (m *message) variant(qos byte, retain, where bool, use aliasUse) *frame {
	f := &m.variants[b2i(where)][use][qos][b2i(retain)]
	if len(f.bytes) == 0 {
		m.varied = true
		m.encode(f, true, qos, retain, own{where: where, alias: use})
	}
	return f
}

// own is what one delivery has of its own.
type own struct {
	dup   bool
	where bool     // the message's position
	alias aliasUse // of its topic
	ids   []uint32 // subscription identifiers
	lost  losses   // values of the user property lostKey
}

// plain reports whether o is nothing at all.
func (o *own) plain() bool { return !o.where && o.alias == aliasNone && o.common() }

// common reports whether o is nothing but what several receivers have alike.
func (o *own) common() bool { return !o.dup && len(o.ids) == 0 && len(o.lost) == 0 }

// lostKey is the user property that tells an MQTT 5 client that it missed
// messages which the log's cache no longer held. Its value is a range of the log,
// FROM-TO, both inclusive; there is one for each range.
const lostKey = "nackmq-lost"

// positionKey and indexKey are the user properties that tell an MQTT 5 client who
// asked for it where a message is: EPOCH:SEQ within its subject, and its index in
// the log.
const (
	positionKey = "nackmq-position"
	indexKey    = "nackmq-index"
)

// encode writes the PUBLISH into f, using f's capacity.
func (m *message) encode(f *frame, v5 bool, qos byte, retain bool, o own) {
	topic := m.Subject[1:]
	if o.alias == aliasInstead {
		topic = ""
	}
	n := 2 + len(topic) + len(m.Payload)
	if qos > 0 {
		n += 2
	}
	var props int
	if v5 {
		m.parse()
		if o.where {
			m.position, m.index = m.Position.String(), indexText(m.Index)
		}
		props = m.propsLen(&o)
		n += varintLen(props) + props
	}
	first := byte(packets.Publish<<4) | qos<<1 | byte(b2i(retain))
	if o.dup {
		first |= 1 << 3
	}
	b := append(f.bytes[:0], first)
	b = appendVarint(b, n)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	f.at = 0
	if qos > 0 {
		f.at = len(b)
		b = append(b, 0, 0)
	}
	f.alias = 0
	if v5 {
		b = appendVarint(b, props)
		if o.alias != aliasNone {
			f.alias = len(b) + 1
			b = append(b, packets.PropTopicAlias, 0, 0)
		}
		b = m.appendProps(b, &o)
	}
	f.bytes = append(b, m.Payload...)
}

// parse reads the properties, once a message. What another version of NackMQ
// wrote and this one cannot read is left out, and so is what a native publisher
// said in more bytes than MQTT can count.
func (m *message) parse() {
	if m.parsed {
		return
	}
	m.parsed = true
	p, _ := stream.ParseProps(m.Props)
	const most = 1<<16 - 1
	if len(p.ContentType) > most {
		p.ContentType = ""
	}
	if len(p.CorrelationData) > most {
		p.CorrelationData = nil
	}
	p.User = slices.DeleteFunc(p.User, func(u stream.UserProperty) bool {
		return len(u.Key) > most || len(u.Value) > most
	})
	m.props = p
}

func (m *message) propsLen(o *own) int {
	p := &m.props
	n := 0
	if o.alias != aliasNone {
		n += 3
	}
	if p.PayloadFormat != stream.FormatUnsaid {
		n += 2
	}
	if m.left > 0 {
		n += 5
	}
	if p.ContentType != "" || p.EmptyType {
		n += 3 + len(p.ContentType)
	}
	if p.ResponseSubject != "" {
		n += 3 + len(p.ResponseSubject) - 1
	}
	if p.CorrelationData != nil {
		n += 3 + len(p.CorrelationData)
	}
	for _, id := range o.ids {
		n += 1 + varintLen(int(id))
	}
	if o.where {
		n += userLen(positionKey, m.position) + userLen(indexKey, m.index)
	}
	for _, r := range o.lost {
		n += userLen(lostKey, r.String())
	}
	for _, u := range p.User {
		n += userLen(u.Key, u.Value)
	}
	return n
}

func (m *message) appendProps(b []byte, o *own) []byte {
	p := &m.props
	if p.PayloadFormat != stream.FormatUnsaid {
		b = append(b, packets.PropPayloadFormat, byte(p.PayloadFormat-stream.FormatBytes))
	}
	if m.left > 0 {
		b = append(b, packets.PropMessageExpiryInterval)
		b = binary.BigEndian.AppendUint32(b, m.left)
	}
	if p.ContentType != "" || p.EmptyType {
		b = appendString(append(b, packets.PropContentType), p.ContentType)
	}
	if p.ResponseSubject != "" {
		b = appendString(append(b, packets.PropResponseTopic), topicOf(p.ResponseSubject))
	}
	if p.CorrelationData != nil {
		b = append(b, packets.PropCorrelationData)
		b = binary.BigEndian.AppendUint16(b, uint16(len(p.CorrelationData)))
		b = append(b, p.CorrelationData...)
	}
	for _, id := range o.ids {
		b = appendVarint(append(b, packets.PropSubscriptionIdentifier), int(id))
	}
	// Ours first: a client that takes the first of a name is not told a position by
	// the publisher.
	if o.where {
		b = appendUser(b, positionKey, m.position)
		b = appendUser(b, indexKey, m.index)
	}
	for _, r := range o.lost {
		b = appendUser(b, lostKey, r.String())
	}
	for _, u := range p.User {
		b = appendUser(b, u.Key, u.Value)
	}
	return b
}

func indexText(i stream.Index) string { return strconv.FormatUint(uint64(i), 10) }

func userLen(key, value string) int { return 5 + len(key) + len(value) }

func appendUser(b []byte, key, value string) []byte {
	return appendString(appendString(append(b, packets.PropUser), key), value)
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendVarint appends a variable byte integer (MQTT 5, 1.5.5).
func appendVarint(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func varintLen(n int) int {
	l := 1
	for n >= 0x80 {
		n >>= 7
		l++
	}
	return l
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
