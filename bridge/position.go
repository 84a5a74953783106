package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/stream"
)

// What an MQTT 5 client asks for by user properties of a SUBSCRIBE, for all its
// filters:
//
//	nackmq-position     yes: deliveries say where they are
//	nackmq-after        EPOCH:SEQ: begin after this message of the only filter's subject
//	nackmq-after-index  N: begin after this place in the log
//	nackmq-log          which log an index is of, as a SUBACK said
//
// The SUBACK tells logKey, indexKey, which is where the messages that are read from
// the log end and live ones begin, and lostKey.
const (
	afterKey      = "nackmq-after"
	afterIndexKey = "nackmq-after-index"
	logKey        = "nackmq-log"
)

// asks is what a SUBSCRIBE asks for beside MQTT.
type asks struct {
	position bool
	resume   bool            // there is an after, or an index
	after    stream.Position // zero: it is index
	index    stream.Index
	log      string // of index; empty: unsaid
}

func (a *asks) none() bool { return !a.position && !a.resume }

// asksOf reads what a SUBSCRIBE asks for. The error is a sentence for the client.
func asksOf(pk *packets.Packet) (a asks, err error) {
	for _, u := range pk.Properties.User {
		switch u.Key {
		case positionKey:
			if u.Val != "yes" && u.Val != "no" {
				return asks{}, fmt.Errorf("%s %.40q is neither yes nor no", positionKey, u.Val)
			}
			a.position = u.Val == "yes"
		case afterKey, afterIndexKey:
			if a.resume {
				return asks{}, errors.New("there is more than one place to begin after")
			}
			a.resume = true
			if u.Key == afterKey {
				if a.after, err = stream.ParsePosition(u.Val); err != nil {
					return asks{}, fmt.Errorf("%s: %w", afterKey, err)
				}
				continue
			}
			n, err := strconv.ParseUint(u.Val, 10, 64)
			if err != nil {
				return asks{}, fmt.Errorf("%s %.40q is not a number", afterIndexKey, u.Val)
			}
			a.index = stream.Index(n)
		case logKey:
			a.log = u.Val
		}
	}
	return a, nil
}

// check refuses what cannot be resumed: a subject's position for anything but that
// subject, and shared subscriptions, of which nobody knows what another member took.
func (a *asks) check(wishes []wish) error {
	if !a.resume {
		return nil
	}
	for _, w := range wishes {
		if w.sub != nil && w.sub.group != "" {
			return errors.New("a shared subscription cannot begin after a place")
		}
		if w.sub != nil && !a.after.IsZero() && (len(wishes) > 1 || !w.sub.filter.IsExact()) {
			return fmt.Errorf("%s needs a single filter without wildcards; %s takes any", afterKey, afterIndexKey)
		}
	}
	return nil
}

// A beginning is where a subscription that resumes begins, and what it cannot be
// given any more.
type beginning struct {
	from  stream.Index
	gone  span   // places of the log among which the lost ones are; zero: nothing is lost
	count uint64 // of them, as far as it is known
	lost  string // value of lostKey in the SUBACK
	why   string
}

// beginning finds the beginning for a subscription of filter f.
func (l *loop) beginning(a *asks, f stream.Filter) beginning {
	if a.after.IsZero() {
		return l.afterIndex(a)
	}
	return l.afterPosition(a.after, stream.Subject(f))
}

func (l *loop) afterIndex(a *asks) beginning {
	b := l.b.cfg.Broker
	head, tail := b.Head(), b.Tail()
	ours := a.log == "" || a.log == b.Cluster().String()
	switch {
	case !ours || a.log == "" && a.index > head:
		return beginning{from: tail, gone: span{1, max(1, tail)}, lost: indexText(a.index+1) + "-", why: "the index is of another log"}
	case a.index >= head: // of this log: this member has not read so far yet
		return beginning{from: head}
	case a.index < tail:
		gone := span{a.index + 1, tail}
		return beginning{from: tail, gone: gone, count: uint64(tail - a.index), lost: gone.String(), why: stream.ErrTrimmed.Error()}
	}
	return beginning{from: a.index}
}

func (l *loop) afterPosition(after stream.Position, name stream.Subject) beginning {
	b := l.b.cfg.Broker
	from := func(p stream.Position) (stream.Index, error) {
		head := b.Head() // first: a message that is placed meanwhile comes live
		got, err := b.ReadSubject(name, p, 0, l.one[:0])
		if err != nil || len(got) == 0 {
			return head, err
		}
		return min(head, got[0].Index-1), nil
	}
	at, err := from(after)
	var lost *stream.LostError
	if !errors.As(err, &lost) || errors.Is(err, stream.ErrAhead) { // ahead: this member has not read so far yet
		return beginning{from: at}
	}
	out := beginning{from: at, why: lost.Err.Error(), lost: fmt.Sprintf("%s:%d-", after.Epoch, after.Seq+1)}
	if lost.First.Seq > 0 && lost.First.Seq <= lost.Last.Seq {
		out.from, _ = from(stream.Position{Epoch: lost.First.Epoch, Seq: lost.First.Seq - 1})
	}
	if errors.Is(err, stream.ErrTrimmed) {
		out.lost += strconv.FormatUint(uint64(lost.First.Seq-1), 10)
		out.count = uint64(lost.First.Seq - 1 - after.Seq)
	}
	out.gone = span{1, max(1, out.from)}
	return out
}

// suback encodes the SUBACK, which tells the client who asked for places where it
// is and what it lost. One who takes no such words in a SUBACK (MQTT 5, 3.1.2.11.7)
// or no packet so large is told of the loss with its next message.
func (l *loop) suback(c *client, ack *packets.Packet, a *asks, head stream.Index, wishes []wish) []byte {
	var of *beginning // all that lost something lost the same
	for _, w := range wishes {
		if w.begin == nil {
			continue
		}
		if of == nil && w.begin.lost != "" {
			of = w.begin
			l.loseBeginning(c, of)
		}
		if of == nil {
			l.b.meters.resumesContinuous.Inc()
		} else {
			l.b.meters.resumesReset.Inc()
		}
	}
	if p := &ack.Properties; !a.none() {
		p.User = append(p.User, packets.UserProperty{Key: logKey, Val: l.b.cfg.Broker.Cluster().String()},
			packets.UserProperty{Key: indexKey, Val: indexText(head)})
		if of != nil {
			p.ReasonString = "lost " + of.lost + ": " + of.why
			p.User = append(p.User, packets.UserProperty{Key: lostKey, Val: of.lost})
		}
	}
	var buf bytes.Buffer
	_ = ack.SubackEncode(&buf)
	if p := &ack.Properties; (p.ReasonString != "" || len(p.User) > 0) && (c.quiet || c.maxPacket > 0 && buf.Len() > c.maxPacket) {
		*p = packets.Properties{}
		buf.Reset()
		_ = ack.SubackEncode(&buf)
		if of != nil {
			c.session.lost.add(of.gone)
		}
	}
	return buf.Bytes()
}

func (l *loop) loseBeginning(c *client, of *beginning) {
	l.b.meters.droppedTrimmed.Add(of.count)
	l.b.cfg.Log.Warn().Str("client", c.session.id).Str("lost", of.lost).Str("why", of.why).
		Msg("a subscription cannot begin where it asked")
}
