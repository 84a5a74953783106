package nacknet

import (
	"time"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/nackproto/session"
	"github.com/nackmq/nackmq/stream"
)

const (
	tickEvery = 100 * time.Millisecond
	readAhead = 512 // messages taken from the log at a time
)

// A loop is one goroutine that serves its share of the connections. It alone
// touches its core, its reader, its table of connections and what it closes.
type loop struct {
	server *Server
	core   *session.Core
	reader *broker.Reader
	inbox  inbox
	waiter *waiter

	conns  []*conn // by slot
	live   int     // connections that are not gone
	met    int     // sessions that were greeted, as last counted
	start  time.Time
	epoch  int64 // Unix milliseconds of start
	ticked int64
	buf    []stream.Message
	events []event
}

// newLoop makes a loop, which has to run to be ended.
func newLoop(s *Server) (*loop, error) {
	now := time.Now()
	l := &loop{
		server: s, reader: s.cf.Broker.NewReader(), inbox: inbox{wake: make(chan struct{}, 1)},
		start: now, epoch: now.UnixMilli(), buf: make([]stream.Message, 0, readAhead),
	}
	l.core = session.New(session.Config{
		Driver: (*driver)(l), Source: s.cf.Broker, Authorizer: s.cf.Authorizer, Limits: s.cf.Limits,
		Node: s.cf.Node, Cluster: s.cf.Broker.Cluster(), Servers: s.cf.Servers,
	}, l.epoch)
	l.reader.Seek(l.core.Head())
	var err error
	if l.waiter, err = newWaiter(l); err != nil {
		l.reader.Close()
		return nil, err
	}
	return l, nil
}

// now gives milliseconds by a clock that is not set: Unix milliseconds as they
// were when l was made, and what has passed since.
func (l *loop) now() int64 { return l.epoch + time.Since(l.start).Milliseconds() }

func (l *loop) run() {
	defer l.server.wg.Done()
	defer l.reader.Close()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		if l.step() {
			select {
			case <-l.server.ctx.Done():
				l.end(tick)
				return
			default:
				continue
			}
		}
		select {
		case <-l.inbox.wake:
		case <-l.reader.Wake():
		case <-tick.C:
		case <-l.server.ctx.Done():
			l.end(tick)
			return
		}
	}
}

// step does what there is to do, a share of each kind, and reports whether there
// is more.
func (l *loop) step() (more bool) {
	now := l.now()
	l.events = l.inbox.take(l.events)
	for i := range l.events {
		l.handle(&l.events[i], now)
	}
	ms, err := l.reader.Next(l.buf)
	switch {
	case err != nil:
		l.core.Lapped(l.reader.Cursor(), now)
		more = true
	case len(ms) > 0:
		l.core.Messages(ms, now)
		clear(ms)
		more = true
	}
	more = l.core.Flush(now) || len(l.events) > 0 || more
	if now-l.ticked >= tickEvery.Milliseconds() {
		l.ticked = now
		l.core.Tick(now)
		n := l.core.Counts()
		l.server.stats.add(n)
		if n.Behind > 0 {
			l.server.warnBehind(now)
		}
		more = true
	}
	if met := l.core.Greeted(); met != l.met {
		l.server.stats.session(met - l.met)
		l.met = met
	}
	return more
}

func (l *loop) handle(e *event, now int64) {
	switch e.kind {
	case evOpened:
		l.open(e.conn, now)
	case evInput:
		c := e.conn
		if c.id != 0 {
			l.core.Input(c.id, (*e.buf)[:e.n], now)
		}
		putBuffer(e.buf)
		c.credit()
	case evWrote:
		l.core.Wrote(e.id, e.n, now)
	case evWritable:
		l.core.Writable(e.id, now)
	case evGone:
		l.gone(e.conn)
	case evPlaced:
		l.core.Placed(e.id, e.tag, e.at, e.code, now)
		if e.conn != nil {
			e.conn.refusal(-1) // the core knows: it refuses what comes behind
		}
	case evReplaced:
		l.core.Replaced(e.id, now)
	case evDrain:
		l.core.Drain(e.within, now)
	case evStale:
		l.core.SetStale(e.stale)
	}
}

// open makes a connection a session.
func (l *loop) open(c *conn, now int64) {
	l.live++
	c.id = l.core.Open(now)
	slot := c.id.Slot()
	for slot >= len(l.conns) {
		l.conns = append(l.conns, nil)
	}
	l.conns[slot] = c
	l.server.wg.Add(1)
	go c.read()
}

// gone is for a connection whose reader has ended: nobody but the loop uses it
// any more.
func (l *loop) gone(c *conn) {
	if c.id != 0 {
		l.core.Closed(c.id)
		l.leave(c)
	}
	c.close()
	l.live--
	l.server.give()
}

// leave takes a connection out of the table: its session is over.
func (l *loop) leave(c *conn) {
	if c.publisher != 0 {
		l.server.unclaim(l, c.id, c.publisher)
	}
	l.conns[c.id.Slot()] = nil
	c.id = 0
}

// end tells the clients that the server goes away, and waits for all that the
// loop has started.
func (l *loop) end(tick *time.Ticker) {
	l.step() // connections that were taken before the end
	l.core.CloseAll(nackproto.CloseGoingAway, "the server stops", l.now())
	for kill := time.Now().Add(time.Second); l.live > 0; {
		if l.step() {
			continue
		}
		if time.Now().After(kill) {
			for _, c := range l.conns {
				if c != nil {
					c.nc.SetDeadline(time.Now())
				}
			}
		}
		select {
		case <-l.inbox.wake:
		case <-tick.C:
		}
	}
	l.waiter.close()
	l.server.stats.add(l.core.Counts())
}

// driver is the loop as its core sees it.
type driver loop

func (d *driver) conn(id session.ID) *conn {
	if slot := id.Slot(); slot < len(d.conns) {
		if c := d.conns[slot]; c != nil && c.id == id {
			return c
		}
	}
	return nil
}

// Write implements session.Driver.
func (d *driver) Write(id session.ID, b []byte) int {
	c := d.conn(id)
	if c == nil {
		return session.Later // its Closed is on the way
	}
	return c.write(b)
}

// Close implements session.Driver.
func (d *driver) Close(id session.ID) {
	if c := d.conn(id); c != nil {
		(*loop)(d).leave(c)
		c.hangUp()
	}
}

// PauseRead implements session.Driver.
func (d *driver) PauseRead(id session.ID) {
	if c := d.conn(id); c != nil {
		c.paused.Store(true)
	}
}

// ResumeRead implements session.Driver.
func (d *driver) ResumeRead(id session.ID) {
	if c := d.conn(id); c != nil {
		c.paused.Store(false)
		c.signal()
	}
}

// Publish implements session.Driver. Between a refusal that may be repeated and the
// core's hearing of it nothing of its publisher may get a place: a later number
// would make the refused one look like a repetition. PROTOCOL.md §6.9.
func (d *driver) Publish(id session.ID, tag uint64, it stream.Item) {
	c := d.conn(id)
	if c == nil {
		return // its session is over
	}
	c.order.Lock()
	defer c.order.Unlock()
	if c.refusals > 0 {
		d.server.stats.publish(broker.Busy)
		d.inbox.post(event{kind: evPlaced, id: id, tag: tag, code: codes[broker.Busy]})
		return
	}
	// done is called by another goroutine, which waits for order: so the publisher
	// has either refused this item, too, or c.refusals tells.
	d.server.cf.Publisher.Publish(it, func(at stream.Place, err error) {
		r := broker.ResultOf(err)
		d.server.stats.publish(r)
		e := event{kind: evPlaced, id: id, tag: tag, at: at.Position, code: codes[r]}
		if e.code.MayRepeat() {
			e.conn = c
			c.refusal(1)
		}
		d.inbox.post(e)
	})
}

// Claim implements session.Driver.
func (d *driver) Claim(id session.ID, p stream.PublisherID) {
	if c := d.conn(id); c != nil {
		c.publisher = p
		d.server.claim(claim{(*loop)(d), id, c.serial}, p)
	}
}
