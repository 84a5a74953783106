package bridge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"

	"github.com/coder/websocket"

	"github.com/nackmq/nackmq/internal/socket"
)

// Serve accepts connections from ln until ctx ends, Close is called or ln is
// closed, and closes ln. A listener made by tls.NewListener serves TLS.
func (b *Bridge) Serve(ctx context.Context, ln net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(b.serving, stop)()
	b.mu.Lock()
	if b.closing {
		b.mu.Unlock()
		_ = ln.Close()
		return net.ErrClosed
	}
	b.wg.Add(1)
	b.mu.Unlock()
	defer b.wg.Done()
	// However it ends, it was asked to.
	_ = socket.Accept(ctx, ln, b.cfg.Log, func(nc net.Conn) {
		c, ok := b.admit(nc)
		if !ok {
			return
		}
		go func() {
			defer b.wg.Done()
			b.serveConn(c)
		}()
	})
	return nil
}

// admit takes nc in, or closes it if there are too many or b is closing. The
// caller owes b.wg a Done for one that was taken in.
func (b *Bridge) admit(nc net.Conn) (*client, bool) {
	socket.Tune(nc, b.cfg.StuckTimeout)
	c := newClient(b, nc)
	b.mu.Lock()
	defer b.mu.Unlock()
	full := !b.closing && !b.cfg.Seats.Take()
	if full && !b.full {
		b.cfg.Log.Warn().Int("limit", b.cfg.Seats.Limit()).Msg("no room for more mqtt connections, closing new ones")
	}
	if b.full = full; full || b.closing {
		if full {
			b.meters.turnedAway.Inc()
		}
		_ = nc.Close()
		return nil, false
	}
	b.clients[c] = true
	b.counts.sockets.Add(1)
	b.wg.Add(1)
	return c, true
}

// serveConn serves one connection to its end. Whatever happens in between, the
// session is detached, the client id is free again and the socket is closed.
func (b *Bridge) serveConn(c *client) {
	defer func() {
		b.mu.Lock()
		delete(b.clients, c)
		b.mu.Unlock()
		b.cfg.Seats.Give()
	}()
	defer c.finish()
	defer c.leave()
	defer func() {
		if p := recover(); p != nil {
			b.cfg.Log.Error().Str("client", c.who.ClientID).Interface("panic", p).Bytes("stack", debug.Stack()).
				Msg("a connection panicked and was closed")
			c.shut(nil, errors.New("bridge: panic"))
		}
	}()
	err := c.serve()
	c.b.cfg.Log.Debug().Str("client", c.who.ClientID).Str("peer", c.nc.RemoteAddr().String()).AnErr("err", err).Msg("mqtt connection ended")
}

func (b *Bridge) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols:   []string{"mqtt"},
		OriginPatterns: b.cfg.Origins,
	})
	if err != nil {
		return // Accept has answered
	}
	if ws.Subprotocol() != "mqtt" { // MQTT 5, 6.0.0-3
		_ = ws.Close(websocket.StatusPolicyViolation, "ask for the subprotocol mqtt")
		return
	}
	c, ok := b.admit(websocket.NetConn(context.Background(), ws, websocket.MessageBinary))
	if !ok {
		return
	}
	defer b.wg.Done()
	b.serveConn(c)
}
