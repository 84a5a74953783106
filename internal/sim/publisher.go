package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A publisher sends numbered publications and repeats what was not confirmed,
// under the same numbers, in order: what a client library does.
type publisher struct {
	w     *world
	id    stream.PublisherID
	total uint64
	next  uint64 // to be sent
	acked uint64 // all up to here are confirmed
	out   int    // sent to the present process and not answered
	sent  int    // tokens given
	home  *node  // which it talks to
	link  int    // counts its connections
	done  map[int]bool
}

func newPublisher(w *world, i int) *publisher {
	return &publisher{
		w: w, id: stream.PublisherID(100 + i), total: uint64(w.cfg.Messages/2 + w.rnd.IntN(w.cfg.Messages)),
		next: 1, done: make(map[int]bool),
	}
}

func (p *publisher) finished() bool { return p.acked == p.total }

// tick sends some and comes again.
func (p *publisher) tick() {
	if p.finished() {
		return
	}
	if p.home == nil || len(p.w.nodes) > 1 && (p.home.p == nil || !p.w.fine && p.w.oneIn(20)) {
		p.lost()
		p.home = p.w.nodes[p.w.rnd.IntN(len(p.w.nodes))]
	}
	if p.home.p != nil {
		p.home.p.publish(p, 1+p.w.rnd.IntN(30))
	}
	p.w.after(p.w.upTo(400*time.Millisecond), fmt.Sprintf("publisher %d", p.id), p.tick)
}

// lost is called when it turns away from the process it talked to, or that is gone:
// what is still answered there it does not hear.
func (p *publisher) lost() { p.link, p.out, p.next = p.link+1, 0, p.acked+1 }

// send gives the next item and what is to be done with its answer.
func (p *publisher) send() (stream.Item, func(stream.Place, error)) {
	number, link := p.next, p.link
	token := p.sent
	p.sent++
	p.next++
	p.out++
	it := p.item(number)
	if p.w.cfg.Bug == Renumber {
		it.Number = uint64(p.sent)
	}
	return it, func(at stream.Place, err error) {
		if p.done[token] {
			p.w.failf("publisher %d: number %d was answered twice", p.id, number)
		}
		p.done[token] = true
		p.answer(number, link, at, err)
	}
}

func (p *publisher) answer(number uint64, link int, at stream.Place, err error) {
	w := p.w
	if link != p.link {
		if err == nil {
			w.truth.confirmed(p, number, at)
		}
		return
	}
	p.out--
	switch {
	case err == nil:
		w.truth.confirmed(p, number, at)
		if number > p.acked+1 {
			w.failf("publisher %d: number %d was confirmed before %d", p.id, number, p.acked+1)
		}
		p.acked = max(p.acked, number)
	case errors.Is(err, broker.ErrBusy):
		w.res.Busy++
		p.next = min(p.next, number)
	case errors.Is(err, broker.ErrStopped), errors.Is(err, broker.ErrNoQuorum):
		p.next = min(p.next, number)
	default:
		w.failf("publisher %d: number %d was answered with %v", p.id, number, err)
	}
}

// item makes the publication of a number: the same whenever it is asked.
func (p *publisher) item(number uint64) stream.Item {
	r := rand.New(rand.NewPCG(p.w.cfg.Seed, uint64(p.id)<<32|number))
	size := r.IntN(200)
	switch {
	case r.IntN(40) == 0:
		size = 2000 + r.IntN(20_000)
	case r.IntN(10) == 0:
		size = 0
	}
	payload := fmt.Appendf(nil, "%d.%d ", p.id, number)
	for size > 0 {
		payload = binary.LittleEndian.AppendUint64(payload, r.Uint64())
		size -= 8
	}
	var flags stream.Flags
	if r.IntN(8) == 0 {
		flags = stream.Retain
	}
	subject := fmt.Sprintf("/s/%d", r.IntN(6))
	if r.IntN(20) == 0 {
		subject = fmt.Sprintf("/rare/%d/%d", p.id, number)
	}
	return stream.Item{
		Publication: stream.Publication{Subject: stream.Subject(subject), Payload: payload, Flags: flags},
		Publisher:   p.id, Number: number,
	}
}

// key names the publication that a message is, from its payload.
func key(payload []byte) (k pubKey) {
	_, _ = fmt.Sscanf(string(payload[:min(len(payload), 24)]), "%d.%d ", &k.publisher, &k.number)
	return k
}

type pubKey struct {
	publisher stream.PublisherID
	number    uint64
}

// digest sums up what must stay as it was.
func digest(m *stream.Message) uint64 {
	var b [40]byte
	le := binary.LittleEndian
	le.PutUint64(b[0:], uint64(m.Position.Epoch))
	le.PutUint64(b[8:], uint64(m.Position.Seq))
	le.PutUint64(b[16:], uint64(m.Index))
	le.PutUint64(b[24:], uint64(m.Time))
	le.PutUint64(b[32:], uint64(m.Flags))
	h := crc32.Update(crc32.Checksum(b[:], sums), sums, []byte(m.Subject))
	return uint64(h)<<32 | uint64(crc32.Checksum(m.Payload, sums))
}
