package nacknet

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// maxWebSocketMessage bounds a WebSocket message in both directions.
// PROTOCOL.md §8.
const maxWebSocketMessage = 64 << 10

// WebSocket gives the handler for the path /nack.
func (s *Server) WebSocket() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.take() {
			s.stats.turnAway()
			w.Header().Set("Retry-After", "5")
			http.Error(w, "too many connections", http.StatusServiceUnavailable)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:    []string{"nack"},
			OriginPatterns:  s.cf.Origins,
			CompressionMode: websocket.CompressionDisabled,
		})
		if err != nil {
			s.give()
			return // Accept has answered
		}
		nc := websocket.NetConn(context.Background(), ws, websocket.MessageBinary)
		ws.SetReadLimit(maxWebSocketMessage)
		// The connection has been taken over, so the handler may return.
		s.adopt(&wsConn{nc, ws})
	})
}

// A wsConn writes messages that are not too long.
type wsConn struct {
	net.Conn
	ws *websocket.Conn
}

func (c *wsConn) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var k int
		k, err = c.Conn.Write(b[:min(len(b), maxWebSocketMessage)])
		n += k
		b = b[k:]
	}
	return n, err
}
