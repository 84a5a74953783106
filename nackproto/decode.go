package nackproto

import (
	"errors"
	"fmt"
)

// ErrIncomplete says that the bytes end before the frame does: read more.
var ErrIncomplete = errors.New("nackproto: frame is not complete")

// A DecodeError says that the peer sent what PROTOCOL.md forbids. There is no
// way to go on after it: close with Code.
type DecodeError struct {
	Type   Type // zero if it was not read
	Code   CloseCode
	Reason string
}

func (e *DecodeError) Error() string { return "nackproto: " + e.Sentence() }

// Sentence gives the reason for CLOSE: it names the frame and the field, and no
// package.
func (e *DecodeError) Sentence() string {
	if e.Type == 0 {
		return e.Reason
	}
	return fmt.Sprintf("%v: %s", e.Type, e.Reason)
}

// Decode reads the first frame in b, whoever sends it, and says how many bytes
// it took. limit is the largest length that is taken, without the length's own
// bytes. The error is ErrIncomplete or a *DecodeError.
//
// Names are copied, payloads and properties point into b.
func Decode(b []byte, limit int) (Frame, int, error) {
	body, t, n, err := cut(b, limit)
	if err != nil {
		return nil, 0, err
	}
	if c := newClientFrame(t); c != nil {
		return finish[Frame](c, &reader{b: body}, n)
	}
	if s := newServerFrame(t); s != nil {
		return finish[Frame](s, &reader{b: body}, n)
	}
	return nil, 0, unknown(t)
}

// FromClient decodes what a client sends. A decoder keeps one PUBLISH and hands
// it out again and again: a frame is valid until the next Decode.
type FromClient struct {
	r       reader
	publish Publish
}

// Decode is as the function Decode, for frames that clients send.
func (d *FromClient) Decode(b []byte, limit int) (ClientFrame, int, error) {
	body, t, n, err := cut(b, limit)
	if err != nil {
		return nil, 0, err
	}
	var f ClientFrame
	if t == TypePublish {
		d.publish = Publish{}
		f = &d.publish
	} else if f = newClientFrame(t); f == nil {
		return nil, 0, unknown(t)
	}
	d.r = reader{b: body}
	return finish(f, &d.r, n)
}

// FromServer decodes what a server sends. A decoder keeps one MESSAGE and one
// MESSAGE_X and hands them out again and again: a frame is valid until the next
// Decode.
type FromServer struct {
	r        reader
	message  Message
	messageX MessageX
}

// Decode is as the function Decode, for frames that servers send.
func (d *FromServer) Decode(b []byte, limit int) (ServerFrame, int, error) {
	body, t, n, err := cut(b, limit)
	if err != nil {
		return nil, 0, err
	}
	var f ServerFrame
	switch t {
	case TypeMessage:
		f = &d.message
	case TypeMessageX:
		d.messageX = MessageX{}
		f = &d.messageX
	default:
		if f = newServerFrame(t); f == nil {
			return nil, 0, unknown(t)
		}
	}
	d.r = reader{b: body}
	return finish(f, &d.r, n)
}

func newClientFrame(t Type) ClientFrame {
	switch t {
	case TypeHello:
		return new(Hello)
	case TypeSubscribe:
		return new(Subscribe)
	case TypeUnsubscribe:
		return new(Unsubscribe)
	case TypePublish:
		return new(Publish)
	case TypeNack:
		return new(Nack)
	case TypeClose:
		return new(Close)
	}
	return nil
}

func newServerFrame(t Type) ServerFrame {
	switch t {
	case TypeWelcome:
		return new(Welcome)
	case TypeSubscribed:
		return new(Subscribed)
	case TypeSubject:
		return new(Subject)
	case TypeMessage:
		return new(Message)
	case TypeMessageX:
		return new(MessageX)
	case TypeContinuous:
		return new(Continuous)
	case TypeReset:
		return new(Reset)
	case TypeConfirm:
		return new(Confirm)
	case TypeHeartbeat:
		return new(Heartbeat)
	case TypeDrain:
		return new(Drain)
	case TypeClose:
		return new(Close)
	}
	return nil
}

// cut finds the first frame in b: its type, its body and its whole length.
// PROTOCOL.md §3.
func cut(b []byte, limit int) (body []byte, t Type, n int, err error) {
	length, w := uvarint(b)
	switch {
	case w == 0:
		return nil, 0, 0, ErrIncomplete
	case w < 0:
		return nil, 0, 0, &DecodeError{Code: CloseProtocol, Reason: "length is not a shortest uvarint"}
	case length == 0:
		return nil, 0, 0, &DecodeError{Code: CloseProtocol, Reason: "length is zero"}
	case length > uint64(limit):
		return nil, 0, 0, &DecodeError{Code: CloseTooLarge, Reason: fmt.Sprintf("length %d is over the limit of %d", length, limit)}
	case uint64(len(b)-w) < length:
		return nil, 0, 0, ErrIncomplete
	}
	n = w + int(length)
	return b[w+1 : n : n], Type(b[w]), n, nil
}

// finish has f read its body and checks that nothing is left over.
func finish[F Frame](f F, r *reader, n int) (F, int, error) {
	f.decode(r)
	if r.bad == "" && len(r.b) > 0 {
		r.bad = "trailing bytes"
	}
	if r.bad != "" {
		var none F
		return none, 0, &DecodeError{Type: f.Type(), Code: CloseProtocol, Reason: r.bad}
	}
	return f, n, nil
}

func unknown(t Type) error {
	return &DecodeError{Code: CloseProtocol, Reason: fmt.Sprintf("unknown frame %v", t)}
}
