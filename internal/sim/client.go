package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

// A client has a session in the log: it attaches to one member after the other,
// leaves wills, and publishes under packet ids until they are released, as a client
// of MQTT does with QoS 2. What it publishes, and each of its wills, has a number of
// its own, so that truth.read sees one that is placed twice (S11, S12).
type client struct {
	w      *world
	name   string
	id     stream.PublisherID
	home   *node
	fence  stream.Fence // 0: not attached
	link   int          // counts its connections
	busy   bool         // an answer is due
	number uint64       // of the publication that it is at
	placed bool         // that was answered; its release was not
	doubt  bool         // an attachment was not answered: the session may be another one
	wills  uint64
	said   []pubKey // answered
}

func newClient(w *world, i int) *client {
	return &client{w: w, name: fmt.Sprintf("client-%d", i), id: stream.PublisherID(900 + i), number: 1}
}

// tick does the next thing and comes again, until the weather is fine.
func (c *client) tick() {
	w := c.w
	if w.fine {
		return
	}
	switch {
	case c.home == nil || c.home.p == nil || w.oneIn(12):
		c.lost()
		c.home = w.nodes[w.rnd.IntN(len(w.nodes))]
	case c.busy:
	case c.fence == 0:
		c.attach()
	case c.placed:
		c.say(stream.Item{Op: stream.ReleaseSession(c.name, c.fence, c.packet())}, func(stream.Place) {
			c.number, c.placed = c.number+1, false
		})
	case w.oneIn(10):
		c.say(stream.Item{Op: stream.DetachSession(c.name, c.fence, uint32(w.rnd.IntN(20)), w.oneIn(2), []byte("state"))}, func(stream.Place) {
			c.lost()
		})
	case w.oneIn(10):
		fs := []stream.SessionFilter{{Name: fmt.Sprint(w.rnd.IntN(5)), Options: w.rnd.Uint64N(9)}}
		c.say(stream.Item{Op: stream.SubscribeSession(c.name, c.fence, fs)}, func(stream.Place) {})
	default:
		it := c.publication(c.number)
		if it.Session, it.Fence, it.Packet = c.name, c.fence, c.packet(); w.cfg.Bug == Unnumbered {
			it.Session = ""
		}
		c.say(it, func(stream.Place) {
			c.placed = true
			c.said = append(c.said, pubKey{c.id, c.number})
		})
	}
	w.after(w.upTo(300*time.Millisecond), c.name, c.tick)
}

func (c *client) packet() uint16 { return uint16(c.number%3) + 1 }

func (c *client) publication(number uint64) stream.Item {
	return stream.Item{Publication: stream.Publication{Subject: "/client", Payload: fmt.Appendf(nil, "%d.%d ", c.id, number)}, Publisher: c.id}
}

func (c *client) attach() {
	a := stream.Attachment{ID: c.name, Holder: c.home.id, Clean: c.w.oneIn(20), Expiry: uint32(c.w.rnd.IntN(20)), Delay: uint32(c.w.rnd.IntN(5))}
	if c.w.oneIn(2) {
		c.wills++
		will := c.publication(1e9 + c.wills).Publication
		a.Will, a.Origin = &will, c.id
	}
	doubt := c.doubt
	c.doubt = true
	c.say(stream.Item{Op: stream.AttachSession(&a)}, func(at stream.Place) {
		c.fence, c.doubt = at.Fence, false
		switch {
		case at.Outcome != stream.Resumed: // what was under way is not said again
			c.number, c.placed = c.number+1, false
		case doubt: // nor where that was perhaps so
			c.placed = true
		}
	})
}

// say hands an item in; done is called if it is answered on this connection.
func (c *client) say(it stream.Item, done func(stream.Place)) {
	c.busy = true
	link := c.link
	p := c.home.p
	p.queue.Add(&it, p.guard(func(at stream.Place, err error) {
		if link != c.link {
			return
		}
		c.busy = false
		switch {
		case err == nil:
			done(at)
		case errors.Is(err, broker.ErrFenced):
			c.lost()
		case !broker.ResultOf(err).MayRepeat() && !errors.Is(err, broker.ErrStopped):
			c.w.failf("%s was answered with %v", c.name, err)
		}
	}), p.time().Mono)
	p.round()
}

// lost ends the connection: what is still answered it does not hear.
func (c *client) lost() { c.link, c.busy, c.fence = c.link+1, false, 0 }
