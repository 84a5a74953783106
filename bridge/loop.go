package bridge

import (
	"errors"
	"runtime"
	"time"

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
	b          *Bridge
	in         inbox
	reader     *broker.Reader
	cursor     stream.Index // every live session was given everything up to it
	index      *index
	sessions   map[string]*session
	early      []func()     // who came before the log said that nobody is connected here; nil: it has said so
	again      []retry      // the first one to be tried again first
	leaving    int          // groups that are being written down
	urgent     []*session   // to be saved at the end of the turn
	nextSave   time.Time    // when the sessions are saved
	closing    bool         // no client is connected any more, and none will be
	ready      []*session   // late and ready, each once
	lateGroups []*group     // late and ready, each once
	sweep      stream.Index // where the sweep over the late sessions' cursors is
	sweeping   bool
	stretch    int                     // messages that the next read for late sessions takes
	dirty      []*client               // to be flushed at the end of the turn
	unflushed  int                     // bytes appended for them
	shared     map[string]stream.Index // see keptMembers; of this turn
	pages      int                     // of subjects, looked through in this turn
	sys        sys
	lossy      map[*session]loss // what they lost in this turn
	began      time.Time         // of the loop, for its clock
	clock      stream.Clock      // the log's
	now        int64             // of the turn, by the log's clock

	msg     message
	beside  *topicAlias // what the frame that frameFor gave tells its client
	alone   frame       // a frame that only one receiver gets
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
		early:    []func(){},
		began:    time.Now(),
		nextSave: time.Now().Add(saveEvery),
		buf:      make([]stream.Message, 0, liveBatch),
		lateBuf:  make([]stream.Message, 0, lateBatch),
		quit:     make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	l.cursor = l.reader.Cursor()
	l.sys.began = l.began
	l.takeSys(l.began)
	l.open()
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

// close ends the loop when all sessions are written down, or cannot be.
func (l *loop) close() {
	l.do(func() {
		l.closing = true
		for _, r := range l.again {
			r.f()
		}
		l.again = nil
	})
	close(l.quit)
	<-l.stopped
}

func (l *loop) run() {
	defer close(l.stopped)
	defer l.reader.Close()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	quit := l.quit
	for {
		more := l.turn()
		if quit == nil && len(l.sessions) == 0 && l.leaving == 0 && l.early == nil {
			return
		}
		if more {
			// With few processors a loop that has much to do would keep publishers
			// waiting for a time slice after the other.
			runtime.Gosched()
			select {
			case <-quit:
				quit = nil
			default:
			}
			continue
		}
		timer.Reset(l.untilDue())
		select {
		case <-l.reader.Wake():
		case <-l.in.wake:
		case <-timer.C:
		case <-quit:
			quit = nil
		}
	}
}

// turn does a bounded piece of work and reports whether there is more.
func (l *loop) turn() (more bool) {
	now := time.Now()
	l.now = l.clock.Time(l.b.cfg.Broker.Time(), now.Sub(l.began).Milliseconds())
	l.calls, l.woken = l.in.take(l.calls, l.woken)
	for _, f := range l.calls {
		f()
	}
	for _, c := range l.woken {
		l.stirred(c)
	}
	l.pages, l.shared = 0, nil
	more = l.live()
	more = l.catchUp() || l.pages > maxPages || more
	l.saveUrgent()
	l.runDue(now)
	l.flush()
	l.tellLosses()
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
		if s.client != nil && !s.late && len(s.subs) > 0 {
			l.lose(s, l.cursor+1, to)
		}
	}
	for _, g := range l.index.groups {
		if !g.late {
			g.cursor = l.cursor
			l.loseGroup(g, to)
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
		l.wakeGroup(g)
	}
}

// at reads the message with index i; false if the cache no longer has it.
func (l *loop) at(i stream.Index) (stream.Message, bool) {
	got, err := l.b.cfg.Broker.ReadLog(i-1, l.one[:0])
	if err != nil || len(got) == 0 || got[0].Index != i {
		return stream.Message{}, false
	}
	return got[0], true
}
