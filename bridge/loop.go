package bridge

import (
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker"
	"github.com/nackmq/nackmq/stream"
)

const (
	liveBatch = 512
	lateBatch = 1024 // more than liveBatch, or the late would never catch up under load
	lateLeast = 32
)

// maxUnflushed bounds what a turn gathers in the buffers of all connections.
const maxUnflushed = 8 << 20

// A loop serves all sessions from the log. Everything here belongs to its
// goroutine, but for in.
type loop struct {
	b         *Bridge
	in        inbox
	reader    *broker.Reader
	cursor    stream.Index // every live session was given everything up to it
	index     *index
	sessions  map[string]*session
	deadline  deadlines
	wills     []lateWill
	ready     []*session   // late and ready, each once
	sweep     stream.Index // where the sweep over the late sessions' cursors is
	sweeping  bool
	stretch   int       // messages that the next read for late sessions takes
	dirty     []*client // to be flushed at the end of the turn
	unflushed int       // bytes appended for them
	now       int64     // of the turn, Unix milliseconds

	msg     message
	alone   frame // a frame that only one receiver gets
	buf     []stream.Message
	lateBuf []stream.Message
	backlog []stream.Message // see readChains
	one     [1]stream.Message
	calls   []func()
	woken   []*client
	acks    []inAck

	quit    chan struct{}
	stopped chan struct{}
}

func newLoop(b *Bridge) *loop {
	l := &loop{
		b:        b,
		in:       inbox{wake: make(chan struct{}, 1)},
		reader:   b.cfg.Broker.NewReader(),
		index:    newIndex(),
		sessions: map[string]*session{},
		buf:      make([]stream.Message, 0, liveBatch),
		lateBuf:  make([]stream.Message, 0, lateBatch),
		quit:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	l.cursor = l.reader.Cursor()
	go l.run()
	return l
}

// do makes the loop call f and waits for it. It reports false if the loop has
// stopped.
func (l *loop) do(f func()) bool {
	done := make(chan struct{})
	l.in.call(func() { f(); close(done) })
	select {
	case <-done:
		return true
	case <-l.stopped:
		return false
	}
}

func (l *loop) close() {
	close(l.quit)
	<-l.stopped
}

func (l *loop) run() {
	defer close(l.stopped)
	defer l.reader.Close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if l.turn() {
			select {
			case <-l.quit:
				return
			default:
				continue
			}
		}
		timer.Reset(l.untilDue())
		select {
		case <-l.reader.Wake():
		case <-l.in.wake:
		case <-timer.C:
		case <-l.quit:
			return
		}
	}
}

// turn does a bounded piece of work and reports whether there is more.
func (l *loop) turn() (more bool) {
	now := time.Now()
	l.now = max(now.UnixMilli(), l.b.cfg.Broker.Time()) // this clock may have been set back
	l.calls, l.woken = l.in.take(l.calls, l.woken)
	for _, f := range l.calls {
		f()
	}
	for _, c := range l.woken {
		l.stirred(c)
	}
	more = l.live()
	more = l.catchUp() || more
	l.runDue(now)
	l.flush()
	return more
}

// flush writes every connection that got something, once.
func (l *loop) flush() {
	for i, c := range l.dirty {
		c.touched = false
		c.flush()
		l.dirty[i] = nil
	}
	l.dirty = l.dirty[:0]
	l.unflushed = 0
}

// live hands the next messages of the log to the live sessions.
func (l *loop) live() (more bool) {
	msgs, err := l.reader.Next(l.buf)
	if errors.Is(err, broker.ErrLapped) {
		l.lapped(l.reader.Cursor())
		return true
	}
	for i := range msgs {
		m := &msgs[i]
		set := l.index.match(m)
		if len(set.targets)+len(set.groups) > 0 {
			l.hand(m, set)
		}
	}
	l.cursor = l.reader.Cursor()
	clear(msgs)
	return len(msgs) == cap(l.buf)
}

// lapped makes every live session lose the messages up to index to.
func (l *loop) lapped(to stream.Index) {
	for _, s := range l.sessions {
		if s.client != nil && !s.late {
			l.lose(s, l.cursor+1, to)
		}
	}
	l.cursor = to
}

func (l *loop) hand(of *stream.Message, set *matchSet) {
	m := &l.msg
	if m.reset(*of, l.now); m.expired {
		return
	}
	for i := range set.targets {
		t := &set.targets[i]
		if s := t.session; !s.late && !l.offer(t, m) {
			s.late, s.ready, s.cursor = true, false, m.Index-1
		}
	}
	for _, g := range set.groups {
		l.share(g, m)
	}
}

// offer gives m to t's session, if it wants it and can take it; it reports
// false when the session has to come back to it. A delivery of QoS 0 that finds
// no room is dropped: its receiver asked for no more.
func (l *loop) offer(t *target, m *message) bool {
	if t = t.forMessage(&m.Message); t == nil {
		return true
	}
	s := t.session
	d := delivery{
		qos:    min(t.qos, m.Flags.QoS()),
		retain: t.retain && m.Flags&stream.Retain != 0,
		ids:    t.ids,
	}
	if l.send(s, m, d) {
		return true
	}
	if d.qos > 0 {
		return false
	}
	l.b.meters.droppedSlow.Inc()
	return true
}

// A delivery is how one session gets one message.
type delivery struct {
	qos    byte
	retain bool
	ids    []uint32
	group  *group
	kept   bool // retained: the window keeps the message itself
}

// send appends m to the session's connection. It reports false if the window or
// the buffer has no room; the loop is then woken when there is.
func (l *loop) send(s *session, m *message, d delivery) bool {
	c := s.client
	if d.qos > 0 && !s.out.room() {
		for l.acknowledge(s, true) && !s.out.room() {
		}
		if !s.out.room() {
			return false
		}
	}
	v5 := c.version == 5
	o := own{}
	if v5 {
		o.ids, o.lost = d.ids, s.lost
	}
	f := &l.alone
	if o.none() {
		f = m.shared(v5, d.qos, d.retain)
	} else {
		m.encode(f, v5, d.qos, d.retain, o)
	}
	if c.tooLarge(f) && len(o.lost) > 0 {
		o.lost = nil // told with a smaller one
		m.encode(f, v5, d.qos, d.retain, o)
	}
	if c.tooLarge(f) {
		l.b.meters.droppedTooLarge.Inc()
		return true // MQTT 5, 3.1.2-25: as if it were sent
	}
	var id uint16
	if d.qos > 0 {
		e := sent{index: m.Index, ids: d.ids, group: d.group, qos: d.qos, retain: d.retain}
		if d.kept {
			e.retained = new(stream.Message)
			*e.retained = m.Message
		}
		id = s.out.add(e)
	}
	if !c.deliver(f.bytes, f.at, id) {
		if d.qos > 0 {
			s.out.drop()
		}
		return false
	}
	if len(o.lost) > 0 {
		s.lost = nil
	}
	l.touch(c)
	l.b.meters.deliveries.Inc()
	if l.unflushed += len(f.bytes); l.unflushed > maxUnflushed {
		l.flush()
	}
	return true
}

// touch has c flushed at the end of the turn.
func (l *loop) touch(c *client) {
	if !c.touched {
		c.touched = true
		l.dirty = append(l.dirty, c)
	}
}

// acknowledge takes what the session's client acknowledged, and reports whether
// that was anything. With wait the loop is woken for the next one.
func (l *loop) acknowledge(s *session, wait bool) bool {
	c := s.client
	l.acks = c.takeAcks(l.acks, wait)
	for _, a := range l.acks {
		i, ok := s.out.find(a.id)
		switch a.typ {
		case packets.Puback:
			if ok && s.out.at(i).qos == 1 {
				s.out.done(i)
			}
		case packets.Pubrec:
			l.pubrec(s, i, ok, a)
		case packets.Pubcomp:
			if ok && s.out.at(i).state == sentReleased {
				s.out.done(i)
			}
		}
	}
	return len(l.acks) > 0
}

// pubrec answers with PUBREL, or ends the delivery if the client refused it
// (MQTT 5, 4.3.3-4 and 4.3.3-5).
func (l *loop) pubrec(s *session, i uint32, ok bool, a inAck) {
	code := byte(0)
	switch {
	case !ok || s.out.at(i).qos != 2:
		if s.client.version == 5 {
			code = packets.ErrPacketIdentifierNotFound.Code
		}
	case a.code >= 0x80:
		s.out.done(i)
		return
	default:
		s.out.at(i).state = sentReleased
	}
	var b [5]byte
	s.client.post(appendAck(b[:0], packets.Pubrel, a.id, code))
	l.touch(s.client)
}

// stirred is called when c's connection has acknowledgements or room.
func (l *loop) stirred(c *client) {
	s := c.session
	if s == nil || s.client != c {
		return
	}
	l.acknowledge(s, false)
	l.wakeUp(s)
}

// wakeUp makes a late session ready, and lets it take what waits for its groups.
func (l *loop) wakeUp(s *session) {
	if s.late && !s.ready {
		s.ready = true
		if !s.listed {
			s.listed = true
			l.ready = append(l.ready, s)
		}
	}
	for _, g := range s.groups {
		l.serveWaiting(g)
	}
}

// share gives m to one member of g, or lets it wait.
func (l *loop) share(g *group, m *message) {
	if len(g.waiting) > 0 || !l.shareNow(g, m) {
		if g.keep(m.Index) {
			l.b.meters.droppedSlow.Inc()
		}
	}
}

func (l *loop) shareNow(g *group, m *message) bool {
	if m.Index <= g.since || len(g.members) == 0 {
		return true
	}
	first := g.pick(m.Index)
	for k := range g.members {
		sub := g.members[(first+k)%len(g.members)]
		if sub.session.late {
			continue
		}
		d := delivery{qos: min(sub.qos, m.Flags.QoS()), group: g,
			retain: sub.retainAsPublished && m.Flags&stream.Retain != 0}
		if sub.id != 0 {
			d.ids = []uint32{sub.id}
		}
		if l.send(sub.session, m, d) {
			return true
		}
	}
	return false
}

// serveWaiting gives the messages that wait for g's members to those that can
// take them.
func (l *loop) serveWaiting(g *group) {
	for len(g.waiting) > 0 && len(g.members) > 0 {
		i := g.waiting[0]
		if m, ok := l.at(i); !ok {
			l.b.meters.droppedTrimmed.Inc()
		} else if l.msg.reset(m, l.now); !l.msg.expired && !l.shareNow(g, &l.msg) {
			return
		}
		g.waiting = g.waiting[1:]
	}
	g.waiting = nil
}

// at reads the message with index i; false if the cache no longer has it.
func (l *loop) at(i stream.Index) (stream.Message, bool) {
	got, err := l.b.cfg.Broker.ReadLog(i-1, l.one[:0])
	if err != nil || len(got) == 0 || got[0].Index != i {
		return stream.Message{}, false
	}
	return got[0], true
}
