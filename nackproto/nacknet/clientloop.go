package nacknet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nackmq/nackmq/nackproto"
	"github.com/nackmq/nackmq/stream"
)

// writeSize is how many bytes of frames are collected for one write: publishes
// that wait while a write is under way leave together.
const writeSize = 64 << 10

// A clientLoop is the goroutine that owns a client's session and connection. It
// sleeps until something comes: a command, bytes, a finished write, a connection,
// room in a subscription, or the time.
type clientLoop struct {
	client  *Client
	session *nackproto.ClientSession
	subs    map[uint64]*Subscription
	flushes []chan struct{}
	ending  error // why the client ends; nil: it does not

	// The way to a connection.
	servers servers
	backoff backoff
	target  address
	dialAt  time.Time // when to dial; zero: not waiting for that
	dialed  chan dialResult
	cancel  context.CancelFunc // of the dialling under way; nil: none
	dialing sync.WaitGroup
	first   int       // servers that were tried before the first Up
	failed  []Attempt // how they failed
	wasUp   bool
	rounds  int       // how often all servers said BEHIND
	upAt    time.Time // since when a server has taken the client; zero: none has

	// The connection.
	conn    *clientConn   // nil: none
	up      *nackproto.Up // nil: no server has taken the client
	broke   error         // how the transport ended, until Down is told
	decoder nackproto.FromServer
	in      []byte    // what was read and not decoded
	out     []byte    // frames that wait for the write under way
	spare   []byte    // a buffer to collect in
	writing bool      // the writer has a buffer
	leaveAt time.Time // when to leave a server that drains

	// Events that found a subscription full, in order: nothing is decoded and
	// nothing read as long as there are any.
	backlog []backlogged
	order   uint64
}

type dialResult struct {
	net net.Conn
	err error
}

type backlogged struct {
	routed
	sub *Subscription
}

func newClientLoop(c *Client, s *nackproto.ClientSession) *clientLoop {
	l := &clientLoop{
		client: c, session: s,
		subs:    map[uint64]*Subscription{},
		backoff: backoff{first: c.config.FirstBackoff, most: c.config.MaxBackoff},
		dialed:  make(chan dialResult, 1),
		dialAt:  time.Now(),
	}
	for _, u := range c.config.Servers {
		a, _ := parseAddress(u) // Validate has read it
		l.servers.list = append(l.servers.list, server{address: a})
	}
	l.servers.configured = len(l.servers.list)
	l.target, _ = l.servers.next(time.Now())
	return l
}

func (l *clientLoop) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.takeCommands()
		l.work(time.Now())
		if l.ending != nil && l.conn == nil {
			break
		}
		var chunks chan []byte
		var wrote chan []byte
		if l.conn != nil {
			wrote = l.conn.wrote
			if len(l.backlog) == 0 || l.session.State() == nackproto.StateEnding {
				chunks = l.conn.chunks
			}
		}
		timer.Reset(l.untilNext(time.Now()))
		select {
		case <-l.client.wake:
		case <-timer.C:
		case r := <-l.dialed:
			l.handleDialed(r)
		case b, ok := <-chunks:
			if ok {
				if len(l.backlog) == 0 {
					l.in = append(l.in, b...)
				}
				l.conn.free <- b
				l.session.HandleRead(time.Now())
			} else {
				l.disconnected(l.conn.err)
			}
		case b := <-wrote:
			l.spare, l.writing = b[:0], false
		}
	}
	l.finish()
}

// takeCommands does what the users want. Publishes come first: who published and
// then called Flush or Close meant it in that order.
func (l *clientLoop) takeCommands() {
	publish, command := l.client.take()
	for _, call := range publish {
		if err := l.session.Publish(call.pub, call); err != nil {
			l.answer(call, stream.Position{}, err)
		}
	}
	for _, f := range command {
		f(l)
	}
}

// work brings everything on as far as it goes without waiting.
func (l *clientLoop) work(now time.Time) {
	l.session.HandleTimeout(now)
	if l.conn != nil && !l.leaveAt.IsZero() && !now.Before(l.leaveAt) {
		l.leaveAt = time.Time{}
		l.session.Disconnect(nackproto.CloseNormal, "the server drains")
	}
	if !l.dialAt.IsZero() && !now.Before(l.dialAt) && l.ending == nil {
		l.dial()
	}
	l.tellEvents()
	l.deliverBacklog(now)
	l.decode(now)
	l.collect(now)
	if l.conn != nil && l.session.State() == nackproto.StateEnding {
		l.conn.hurry()
		if !l.writing && len(l.out) == 0 {
			l.disconnected(nil)
		}
	}
	if l.session.Unanswered() == 0 {
		for _, ch := range l.flushes {
			close(ch)
		}
		l.flushes = nil
	}
}

// decode hands the frames that were read to the session, until one of their
// events finds a subscription full.
func (l *clientLoop) decode(now time.Time) {
	n := 0
	for len(l.backlog) == 0 {
		limit := l.client.config.MaxFrame
		if l.session.State() == nackproto.StateGreeting {
			limit = nackproto.HelloLimit
		}
		f, k, err := l.decoder.Decode(l.in[n:], limit)
		if err == nackproto.ErrIncomplete {
			break
		}
		if err != nil {
			l.client.config.Log.Warn().Err(err).Str("server", l.target.url).Msg("server broke the protocol")
			l.session.HandleError(now, err)
			n = len(l.in)
			break
		}
		n += k
		l.client.count.framesIn.Add(1)
		if err := l.session.HandleFrame(now, f); err != nil {
			l.client.config.Log.Warn().Err(err).Str("server", l.target.url).Msg("server broke the protocol")
		}
		l.tellEvents()
	}
	if n > 0 {
		rest := copy(l.in, l.in[n:])
		l.in = l.in[:rest]
		if cap(l.in) > 4*readSize && rest < readSize {
			l.in = append(make([]byte, 0, readSize), l.in...) // a large message has passed
		}
	}
}

// collect appends the session's frames to one buffer and hands it to the writer
// when that is idle.
func (l *clientLoop) collect(now time.Time) {
	if l.conn == nil {
		return
	}
	for {
		for len(l.out) < writeSize {
			f, ok := l.session.PollFrame(now)
			if !ok {
				break
			}
			l.out = f.AppendTo(l.out)
			l.client.count.framesOut.Add(1)
		}
		if len(l.out) == 0 || l.writing {
			return
		}
		l.conn.writes <- l.out
		l.out, l.spare, l.writing = l.spare, nil, true
	}
}

// tellEvents takes what the session has to tell to whom it concerns.
func (l *clientLoop) tellEvents() {
	for {
		e, ok := l.session.PollEvent()
		if !ok {
			return
		}
		switch e := e.(type) {
		case *nackproto.Delivery:
			l.route(e, e.Subs)
		case *nackproto.Answer:
			l.answered(e)
		case *nackproto.Continued:
			l.route(e, e.Subs)
		case *nackproto.Lost:
			l.route(e, e.Subs)
		case *nackproto.Activated:
			l.servers.forgetBehind()
			l.rounds = 0
			if s := l.subs[e.Sub]; s != nil {
				close(s.active)
				if s.tells {
					l.order++
					l.send(s, routed{e, l.order})
				}
			}
		case *nackproto.Ended:
			if s := l.subs[e.Sub]; s != nil {
				l.drop(s, &SubscribeError{s.filter, e.Code, e.Local})
			}
		case *nackproto.Up:
			e.Server = l.target.url
			l.handleUp(e)
			l.up = e
			l.routeAll(e)
		case *nackproto.Down:
			e.Err, l.broke = l.broke, nil
			behind := l.handleBehind(e)
			l.handleDown(e)
			l.up = nil
			l.routeAll(e)
			if behind != nil {
				l.routeAll(behind)
			}
		case *nackproto.Draining:
			l.handleDraining(e)
			l.routeAll(e)
		case *nackproto.Staleness:
			l.routeAll(e)
		}
	}
}

func (l *clientLoop) route(e nackproto.Event, subs []uint64) {
	l.order++
	for _, id := range subs {
		if s := l.subs[id]; s != nil {
			l.send(s, routed{e, l.order})
		}
	}
}

func (l *clientLoop) routeAll(e nackproto.Event) {
	l.order++
	for _, s := range l.subs {
		l.send(s, routed{e, l.order})
	}
}

func (l *clientLoop) send(s *Subscription, r routed) {
	if len(l.backlog) == 0 && s.push(r) {
		return
	}
	if len(l.backlog) == 0 {
		l.client.stalled.Store(true)
		l.session.HandlePaused(time.Now(), true)
	}
	l.backlog = append(l.backlog, backlogged{r, s})
}

// deliverBacklog tries the full subscriptions again.
func (l *clientLoop) deliverBacklog(now time.Time) {
	if len(l.backlog) == 0 {
		return
	}
	n := 0
	for n < len(l.backlog) && l.backlog[n].sub.push(l.backlog[n].routed) {
		n++
	}
	l.backlog = append(l.backlog[:0], l.backlog[n:]...)
	if len(l.backlog) == 0 {
		l.backlog = nil
		l.client.stalled.Store(false)
		l.session.HandlePaused(now, false)
	}
}

func (l *clientLoop) answered(e *nackproto.Answer) {
	call := e.Tag.(*publishCall)
	if e.Code == nackproto.Placed {
		l.answer(call, e.Position, nil)
	} else {
		l.answer(call, stream.Position{}, &RefusedError{call.pub.Subject, e.Code})
	}
}

func (l *clientLoop) answer(call *publishCall, at stream.Position, err error) {
	<-l.client.slots
	call.done(at, err)
}

func (l *clientLoop) subscribe(s *Subscription, start nackproto.Start) {
	if l.ending != nil {
		s.err = l.ending
		close(s.ended)
		return
	}
	s.id = l.session.Subscribe(s.filter, start)
	l.subs[s.id] = s
	if s.tells && l.up != nil {
		l.order++
		l.send(s, routed{l.up, l.order})
	}
}

func (l *clientLoop) unsubscribe(s *Subscription) {
	if l.subs[s.id] == s {
		l.session.Unsubscribe(s.id)
		l.drop(s, ErrSubscriptionClosed)
	}
}

// drop ends s at the user's side.
func (l *clientLoop) drop(s *Subscription, err error) {
	delete(l.subs, s.id)
	kept := l.backlog[:0]
	for _, b := range l.backlog {
		if b.sub != s {
			kept = append(kept, b)
		}
	}
	clear(l.backlog[len(kept):])
	l.backlog = kept
	if l.client.stalled.Load() && len(l.backlog) == 0 {
		l.client.stalled.Store(false)
		l.session.HandlePaused(time.Now(), false)
	}
	s.err = err
	close(s.ended)
}

// positions lowers what the session knows to what the application has taken.
func (l *clientLoop) positions() []byte {
	untaken := map[stream.Subject]stream.Position{}
	orders := map[stream.Subject]uint64{}
	note := func(r routed) {
		var name stream.Subject
		var before stream.Position
		switch e := r.event.(type) {
		case *nackproto.Delivery:
			name, before = e.Message.Subject, e.Message.Position
			before.Seq--
		case *nackproto.Lost:
			name, before = e.Subject, e.Before
		default:
			return
		}
		if order, ok := orders[name]; !ok || r.order < order {
			untaken[name], orders[name] = before, r.order
		}
	}
	for _, s := range l.subs {
		s.each(note)
	}
	for _, b := range l.backlog {
		note(b.routed)
	}
	return l.session.Positions(untaken)
}

// end has the client end for err; the connection gets a CLOSE.
func (l *clientLoop) end(err error) {
	if l.ending != nil {
		return
	}
	l.ending = err
	l.session.Close()
	if l.cancel != nil {
		l.cancel()
	}
	l.dialAt = time.Time{}
}

// finish tells everybody that it is over.
func (l *clientLoop) finish() {
	if l.cancel != nil {
		l.cancel()
		l.dialing.Wait()
		if r := <-l.dialed; r.net != nil {
			r.net.Close()
		}
	}
	late := l.client.finish(l.ending)
	err := l.client.err
	for {
		tag, sent, ok := l.session.Abandon()
		if !ok {
			break
		}
		if sent {
			l.answer(tag.(*publishCall), stream.Position{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
		} else {
			l.answer(tag.(*publishCall), stream.Position{}, err)
		}
	}
	for _, call := range late {
		l.answer(call, stream.Position{}, err)
	}
	l.backlog = nil
	for _, s := range l.subs {
		l.drop(s, err)
	}
	close(l.client.done)
}
