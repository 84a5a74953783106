package nacknet

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// wsLimit is above the longest WebSocket message of either end. PROTOCOL.md §8.
const wsLimit = 128 << 10

// dial opens the transport to a. The client's heartbeats are the server's, so
// TCP's own keep-alive is off: an idle subscriber sends nothing.
func dial(ctx context.Context, a address, c *Config) (net.Conn, error) {
	plain := &net.Dialer{KeepAlive: -1, Timeout: c.DialTimeout}
	if c.dial != nil {
		return c.dial(ctx, a.url)
	}
	switch a.scheme {
	case "nack":
		return plain.DialContext(ctx, "tcp", a.hostport)
	case "nacks":
		d := tls.Dialer{NetDialer: plain, Config: c.tlsConfig("nack")}
		return d.DialContext(ctx, "tcp", a.hostport)
	}
	t := &http.Transport{
		DialContext:         plain.DialContext,
		TLSClientConfig:     c.tlsConfig(),
		TLSHandshakeTimeout: c.DialTimeout,
		Proxy:               http.ProxyFromEnvironment,
	}
	defer t.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, a.url, &websocket.DialOptions{
		HTTPClient:      &http.Client{Transport: t},
		Subprotocols:    []string{"nack"},
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(wsLimit)
	// The context given to NetConn is the connection's life, not the dialling's.
	return &clientWebSocket{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}, nil
}

func (c *Config) tlsConfig(protocols ...string) *tls.Config {
	t := c.TLS.Clone() // a nil Config has a nil clone
	if t == nil {
		t = &tls.Config{}
	}
	if t.MinVersion == 0 {
		t.MinVersion = tls.VersionTLS12
	}
	if len(protocols) > 0 {
		t.NextProtos = protocols
	}
	return t
}

// A clientWebSocket keeps its messages short, and waits for nobody when it closes: CLOSE
// has said all. PROTOCOL.md §8.
type clientWebSocket struct {
	net.Conn
	ws *websocket.Conn
}

func (w *clientWebSocket) Close() error { return w.ws.CloseNow() }

func (w *clientWebSocket) Write(b []byte) (int, error) {
	const most = 64 << 10
	n := 0
	for len(b) > 0 {
		k, err := w.Conn.Write(b[:min(len(b), most)])
		n += k
		if err != nil {
			return n, err
		}
		b = b[k:]
	}
	return n, nil
}

// flushTimeout bounds how long a last CLOSE may take to leave.
const flushTimeout = 2 * time.Second
