package nackproto

import (
	"errors"
	"fmt"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// Errors of Publish. What they wrap was not sent and got no number.
var (
	ErrTooLarge    = errors.New("nackproto: the publication is longer than the server takes")
	ErrNoPublisher = errors.New("nackproto: this session has no incarnation and cannot publish")
)

// publishRoom is what a PUBLISH takes at most beside name, properties and payload.
const publishRoom = 48

// A pending publish is one without a final answer.
type pending struct {
	pub    stream.Publication
	tag    any
	number uint64 // 0: was never sent
}

// A window is the publishes without a final answer, oldest first. On a
// connection, the first sent of them are out, and the first answered of those
// have an answer, which is then one that asks for repetition. PROTOCOL.md §6.9.
type window struct {
	queue    queue[pending]
	last     uint64 // the last number that was given
	sent     int
	answered int
	most     int       // that may be out
	refused  bool      // the oldest was refused for now: send nothing more
	retryAt  time.Time // when to send again from the oldest on; zero: not yet known
	aliases  aliases
	frame    Publish // handed out again and again
}

func (w *window) len() int { return w.queue.len() }

func (w *window) connect(most, maxAliases int) {
	w.most = max(most, 1)
	w.aliases.reset(maxAliases)
}

func (w *window) disconnect() {
	w.sent, w.answered, w.refused, w.retryAt = 0, 0, false, time.Time{}
}

// Publish asks for a place for p. The outcome is an Answer with tag; until then
// the publish outlives any number of connections. The caller bounds how many
// there are (Unanswered) and leaves p's bytes alone until then.
func (s *ClientSession) Publish(p stream.Publication, tag any) error {
	switch {
	case s.state == StateClosed:
		return ErrClosed
	case s.config.Incarnation == 0:
		return ErrNoPublisher
	}
	if n := publishRoom + len(p.Subject) + len(p.Props) + len(p.Payload); n > s.welcome.MaxFrame {
		return fmt.Errorf("%w: about %d bytes, at most %d", ErrTooLarge, n, s.welcome.MaxFrame)
	}
	s.window.queue.push(pending{pub: p, tag: tag})
	return nil
}

// Abandon takes the oldest publish without an answer away, until there is none,
// and says whether it was ever sent: then its outcome is unknown. Only when the
// session is closed.
func (s *ClientSession) Abandon() (tag any, sent, ok bool) {
	p, ok := s.window.queue.pop()
	return p.tag, p.number != 0, ok
}

// next gives the next PUBLISH to send.
func (w *window) next(now time.Time) *Publish {
	if w.refused {
		if w.retryAt.IsZero() || now.Before(w.retryAt) {
			return nil
		}
		w.refused, w.retryAt = false, time.Time{}
		w.sent, w.answered = 0, 0
	}
	if w.sent == w.queue.len() || w.sent >= w.most {
		return nil
	}
	p := w.queue.at(w.sent)
	if p.number == 0 {
		w.last++
		p.number = w.last
	}
	w.sent++
	f := &w.frame
	*f = Publish{
		Number: p.number, Expiry: p.pub.Expiry, Props: p.pub.Props, Payload: p.pub.Payload,
		Retain: p.pub.Flags&stream.Retain != 0,
	}
	var known bool
	if f.Alias, known = w.aliases.of(p.pub.Subject); !known {
		f.Name = string(p.pub.Subject)
	}
	return f
}

func (s *ClientSession) handleConfirm(now time.Time, f *Confirm) error {
	w := &s.window
	if w.answered >= w.sent || w.queue.at(w.answered).number != f.Number {
		return &DecodeError{Type: TypeConfirm, Code: CloseProtocol, Reason: fmt.Sprintf("publish %d is not the next to be answered", f.Number)}
	}
	for _, run := range f.Runs {
		if run.Count > uint64(w.sent-w.answered) {
			return &DecodeError{Type: TypeConfirm, Code: CloseProtocol, Reason: "it answers more than was sent"}
		}
		if run.Code.MayRepeat() {
			w.answered += int(run.Count)
			w.refused = true
			if w.answered == w.sent {
				w.retryAt = now.Add(max(run.Retry, minRetry))
			}
			continue
		}
		if w.refused {
			return &DecodeError{Type: TypeConfirm, Code: CloseProtocol, Reason: "a later publish overtook a refused one"}
		}
		at := run.Position
		for range run.Count {
			p, _ := w.queue.pop()
			w.sent--
			s.tell(&Answer{p.tag, p.number, run.Code, at})
			if !at.IsZero() {
				at.Seq++
			}
		}
	}
	return nil
}

// minRetry keeps a server that says "at once" from being asked in a loop.
const minRetry = 10 * time.Millisecond

// aliases are the client's, of one connection. When there are no more the one
// that was given longest ago names another subject. PROTOCOL.md §5.6.
type aliases struct {
	byName map[stream.Subject]Alias
	names  []stream.Subject // names[i] has alias i+1
	most   int
	oldest int // in names
}

func (a *aliases) reset(most int) {
	*a = aliases{byName: map[stream.Subject]Alias{}, most: most}
}

// of gives the alias of name and whether the server knows it; if not, the name
// must go with it. Zero: the name goes without one.
func (a *aliases) of(name stream.Subject) (Alias, bool) {
	if al, ok := a.byName[name]; ok {
		return al, true
	}
	if a.most == 0 || len(name) > MaxAliasName {
		return 0, false
	}
	if len(a.names) < a.most {
		a.names = append(a.names, name)
		a.byName[name] = Alias(len(a.names))
		return Alias(len(a.names)), false
	}
	i := a.oldest
	a.oldest = (i + 1) % a.most
	delete(a.byName, a.names[i])
	a.names[i] = name
	a.byName[name] = Alias(i + 1)
	return Alias(i + 1), false
}
