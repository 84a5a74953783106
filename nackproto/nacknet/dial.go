package nacknet

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

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
	ws.SetReadLimit(maxWebSocketMessage)
	// The context given to NetConn is the connection's life, not the dialling's.
	return &clientWebSocket{wsConn{websocket.NetConn(context.Background(), ws, websocket.MessageBinary), ws}}, nil
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

// A clientWebSocket waits for nobody when it closes: CLOSE has said all.
type clientWebSocket struct{ wsConn }

func (w *clientWebSocket) Close() error { return w.ws.CloseNow() }

// flushTimeout bounds how long a last CLOSE may take to leave.
const flushTimeout = 2 * time.Second
