package nackproto

import (
	"errors"
	"fmt"
	"time"

	"github.com/nackmq/nackmq/stream"
)

// A ClientState is where a ClientSession stands. PROTOCOL.md §7.
type ClientState uint8

const (
	StateDown     ClientState = iota // no connection
	StateGreeting                    // HELLO is sent or about to be
	StateUp                          // WELCOME came
	StateEnding                      // CLOSE is the last frame: send it and disconnect
	StateClosed                      // over: no connection will be made again
)

func (s ClientState) String() string {
	return [...]string{"down", "greeting", "up", "ending", "closed"}[s]
}

// ErrClosed says that the session is over.
var ErrClosed = errors.New("nackproto: the session is closed")

// ClientConfig is what a ClientSession is made from. The zero value subscribes
// only.
type ClientConfig struct {
	Name  string // shown to the server's operator; at most MaxText bytes
	Token string
	// Incarnation names the publisher; draw 64 random bits. 0: does not publish.
	Incarnation stream.PublisherID
	// MaxSubjects is how many subjects are remembered. Default 1,000,000.
	MaxSubjects int
	// Positions is what ClientSession.Positions gave before a restart, or nil.
	Positions []byte
}

// A ClientSession is the client's end of the protocol: what it knows between
// connections and what it does on one. It does no I/O. One goroutine calls it,
// in this rhythm: tell it what happened (Handle…), or what is wanted (Subscribe,
// Publish, …); then take what is to be sent (PollFrame) until there is nothing,
// and what is to be told (PollEvent) until there is nothing; then wait for the
// network or until Timeout.
//
// It remembers per subject a position and no message; per subscription an index;
// and the publishes without an answer. All of it outlives connections.
//
// PROTOCOL.md §7.
type ClientSession struct {
	config ClientConfig
	state  ClientState
	closed Down // why, once the end of a connection is known
	said   bool // closed holds what CLOSE said

	out    []ClientFrame // small frames, ahead of publishes
	events queue[Event]

	welcome Welcome // of this connection or the one before
	stale   bool

	heardAt time.Time // when the server was last heard
	paused  bool      // nobody reads: silence means nothing

	subs    []*subscription
	lastSub uint64
	stored  stored

	subjects subjects
	window   window
}

// NewClientSession makes a session without a connection. The error wraps
// ErrPositions.
func NewClientSession(c ClientConfig) (*ClientSession, error) {
	if c.MaxSubjects == 0 {
		c.MaxSubjects = 1_000_000
	}
	if len(c.Name) > MaxText || len(c.Token) > MaxToken {
		return nil, fmt.Errorf("nackproto: the name has at most %d bytes, the token %d", MaxText, MaxToken)
	}
	s := &ClientSession{config: c}
	s.subjects.init()
	s.welcome.MaxFrame = DefaultMaxFrame
	if c.Positions != nil {
		var err error
		if s.stored, err = parsePositions(c.Positions); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// State says where the session stands.
func (s *ClientSession) State() ClientState { return s.state }

// Unanswered gives the number of publishes that have no final answer.
func (s *ClientSession) Unanswered() int { return s.window.len() }

// MaxFrame gives the longest frame that the server takes.
func (s *ClientSession) MaxFrame() int { return s.welcome.MaxFrame }

// HandleConnected begins a connection. Only in StateDown.
func (s *ClientSession) HandleConnected(now time.Time) {
	if s.state != StateDown {
		panic("nackproto: connected while " + s.state.String())
	}
	s.state = StateGreeting
	s.heardAt = now
	s.closed, s.said = Down{}, false
	s.out = append(s.out, &Hello{MinVersion, MaxVersion, s.config.Incarnation, s.config.Name, s.config.Token})
}

// HandleDisconnected ends a connection, however it ended.
func (s *ClientSession) HandleDisconnected(now time.Time) {
	if s.state == StateDown || s.state == StateClosed {
		return
	}
	s.out = s.out[:0]
	s.subjects.disconnect()
	s.window.disconnect()
	s.disconnectSubs()
	s.state = StateDown
	if s.closed.Final {
		s.state = StateClosed
	}
	e := s.closed
	s.tell(&e)
}

// HandleRead says that bytes came from the server, a whole frame or not.
// PROTOCOL.md §6.8.
func (s *ClientSession) HandleRead(now time.Time) { s.heardAt = now }

// HandlePaused says that nobody reads from the server from here on, or does
// again: a client whose user does not keep up measures no silence.
func (s *ClientSession) HandlePaused(now time.Time, paused bool) {
	s.paused = paused
	s.heardAt = now
}

// HandleFrame takes what the server sent. An error means that the server broke
// the protocol; CLOSE is on its way out.
func (s *ClientSession) HandleFrame(now time.Time, f ServerFrame) error {
	s.heardAt = now
	s.subjects.frames++
	var err error
	switch s.state {
	case StateGreeting:
		err = s.handleGreeting(now, f)
	case StateUp:
		err = s.handleOpen(now, f)
	case StateEnding:
		// What comes after our CLOSE is of no interest, but for the server's own.
		if c, ok := f.(*Close); ok {
			s.handleClose(c)
		}
	}
	if err != nil {
		s.HandleError(now, err)
	}
	return err
}

// HandleError says that the server sent what cannot be read.
func (s *ClientSession) HandleError(now time.Time, err error) {
	code, reason := CloseProtocol, err.Error()
	var de *DecodeError
	if errors.As(err, &de) {
		code, reason = de.Code, de.Sentence()
	}
	s.end(code, reason)
}

func (s *ClientSession) handleGreeting(now time.Time, f ServerFrame) error {
	switch f := f.(type) {
	case *Welcome:
		if f.Version < MinVersion || f.Version > MaxVersion {
			return &DecodeError{Type: TypeWelcome, Code: CloseVersion, Reason: fmt.Sprintf("version %d was not offered", f.Version)}
		}
		s.handleWelcome(now, f)
	case *Close:
		s.handleClose(f)
	default:
		return notAllowed(f, s.state)
	}
	return nil
}

func (s *ClientSession) handleOpen(now time.Time, f ServerFrame) error {
	switch f := f.(type) {
	case *Message:
		s.handleMessage(now, f)
	case *MessageX:
		s.handleMessageX(now, f)
	case *Confirm:
		return s.handleConfirm(now, f)
	case *Subject:
		s.handleSubject(now, f)
	case *Continuous:
		s.handleContinuous(now, f)
	case *Reset:
		s.handleReset(f)
	case *Heartbeat:
		s.handleHeartbeat(now, f)
	case *Subscribed:
		return s.handleSubscribed(now, f)
	case *Drain:
		s.tell(&Draining{f.Within, f.Servers})
	case *Close:
		s.handleClose(f)
	default:
		return notAllowed(f, s.state)
	}
	return nil
}

func notAllowed(f ServerFrame, st ClientState) error {
	return &DecodeError{Type: f.Type(), Code: CloseProtocol, Reason: "not allowed while " + st.String()}
}

func (s *ClientSession) handleWelcome(now time.Time, f *Welcome) {
	s.welcome = *f
	s.state = StateUp
	s.tell(&Up{Node: f.Node, Cluster: f.Cluster, Heartbeat: f.Heartbeat, Servers: f.Servers})
	s.askAgain()
	s.window.connect(s.welcome.MaxUnconfirmed, s.welcome.MaxAliases)
}

func (s *ClientSession) handleClose(f *Close) {
	after := f.Retry
	if after == 0 {
		after = f.Code.After()
	}
	final := !f.Code.MayComeBack() || s.closed.Final
	s.closed, s.said = Down{Code: f.Code, Reason: f.Reason, After: after, Final: final}, true
	// Nothing is answered; the driver has nothing left to send and disconnects.
	s.out = s.out[:0]
	s.state = StateEnding
}

// Disconnect ends the connection with a frame that says why. The session may
// connect again.
func (s *ClientSession) Disconnect(code CloseCode, reason string) { s.end(code, reason) }

// Close ends the session.
func (s *ClientSession) Close() {
	if s.state == StateDown || s.state == StateClosed {
		s.state = StateClosed
		return
	}
	s.end(CloseNormal, "")
	s.closed.Final = true
}

func (s *ClientSession) end(code CloseCode, reason string) {
	if s.state != StateGreeting && s.state != StateUp {
		return
	}
	if s.state == StateGreeting && len(s.out) > 0 {
		s.out = s.out[:1] // HELLO goes first, always
	} else {
		s.out = s.out[:0]
	}
	s.out = append(s.out, &Close{Code: code, Reason: reason})
	s.closed = Down{Code: code, Reason: reason, Ours: true}
	s.state = StateEnding
}

// PollFrame gives the next frame to send, until there is none. The frame is valid
// until the next call. In StateEnding the driver disconnects when there is none
// left.
func (s *ClientSession) PollFrame(now time.Time) (ClientFrame, bool) {
	if len(s.out) > 0 {
		f := s.out[0]
		s.out[0] = nil
		if s.out = s.out[1:]; len(s.out) == 0 {
			s.out = nil
		}
		return f, true
	}
	if s.state == StateUp {
		if f := s.window.next(now); f != nil {
			return f, true
		}
	}
	return nil, false
}

// PollEvent gives the next thing to tell, until there is none.
func (s *ClientSession) PollEvent() (Event, bool) { return s.events.pop() }

func (s *ClientSession) tell(e Event) { s.events.push(e) }

// Timeout gives when HandleTimeout is to be called; zero: not before something
// happens.
func (s *ClientSession) Timeout() time.Time {
	var at time.Time
	if (s.state == StateGreeting || s.state == StateUp) && !s.paused {
		at = s.silentAt()
	}
	if s.state == StateUp {
		at = earlier(at, s.subjects.timeout())
		at = earlier(at, s.window.retryAt)
		for _, sub := range s.subs {
			at = earlier(at, sub.askAt)
		}
	}
	return at
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (s *ClientSession) silentAt() time.Time {
	if s.state == StateGreeting {
		return s.heardAt.Add(HelloTimeout)
	}
	return s.heardAt.Add(Silence(s.welcome.Heartbeat))
}

// HandleTimeout does what is due. It may be called at any time.
func (s *ClientSession) HandleTimeout(now time.Time) {
	if (s.state == StateGreeting || s.state == StateUp) && !s.paused && !now.Before(s.silentAt()) {
		s.end(CloseSilent, "nothing was heard from the server")
		return
	}
	if s.state == StateUp {
		s.nackDue(now)
		s.askDue(now)
	}
}
