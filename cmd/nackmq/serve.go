package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"github.com/nackmq/nackmq/internal/config"
	"github.com/nackmq/nackmq/internal/node"
)

// stopWithin is how long a node that was asked to stop may take for it.
const stopWithin = 10 * time.Second

func serveCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "run a node",
		Long: `Runs a node until it is interrupted or terminated. When every port is open it prints
one line on standard output that begins with "ready" and tells the ports. Log lines go
to standard error.

Every flag but --config is also a key of the YAML file and a NACKMQ_ variable: --data-dir
is data-dir and NACKMQ_DATA_DIR, --limits-cache-age is cache-age below limits, and
NACKMQ_LIMITS_CACHE_AGE. A flag overrides a variable, and a variable the file.

Nobody has to log in yet. So that nobody is let in by accident, a node listens only on
loopback addresses unless --allow-anonymous is given.`,
		Example: `  nackmq serve
  nackmq serve --data-dir /var/lib/nackmq --log-format json
  nackmq serve --mqtt 127.0.0.1:0 --native 127.0.0.1:0 --http 127.0.0.1:0
  nackmq serve --mqtt 0.0.0.0:1883 --allow-anonymous
  nackmq serve --config nackmq.yaml`,
		Args: arguments(0, 0, ""),
	}
	s := addSettings(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, _, err := s.load()
		if err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

// serve runs a node until ctx ends or the node has to stop by itself.
func serve(ctx context.Context, cfg config.Config, out, logs io.Writer) error {
	b := thisBuild()
	n, err := node.Start(ctx, cfg, node.Options{
		Log:   newLogger(cfg, logs),
		Build: node.Build{Version: b.Version, Commit: b.Commit},
	})
	if err != nil {
		return err
	}
	at := n.Addresses()
	fmt.Fprintf(out, "ready node=%s mqtt=%s native=%s http=%s\n", cfg.Name(), at.MQTT, at.Native, at.HTTP)
	if cfg.LogFormat == config.Console && isTerminal(out) {
		fmt.Fprint(out, firstSteps(at))
	}
	select {
	case <-ctx.Done():
	case <-n.Failed():
	}
	within, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return n.Stop(within)
}

// firstSteps says what to type next, with this program named as it was called.
func firstSteps(at node.Addresses) string {
	self, nack, mqtt := os.Args[0], "", ""
	if at.Native != config.Default().Native {
		nack = " --server nack://" + at.Native
	}
	if host, port, err := net.SplitHostPort(at.MQTT); err == nil && at.MQTT != config.Default().MQTT {
		mqtt = " -h " + host + " -p " + port
	}
	return fmt.Sprintf(`
In another terminal, in either language:
  %[1]s sub%[2]s '/demo/#'
  mosquitto_sub%[3]s -v -t 'demo/#'

And in a third:
  %[1]s pub%[2]s /demo/hello 'hello, world'
  mosquitto_pub%[3]s -t demo/hello -m 'hello, world'

Health and metrics are at http://%[4]s. Ctrl-C stops the node.

`, self, nack, mqtt, at.HTTP)
}

// newLogger writes as the configuration says.
func newLogger(cfg config.Config, w io.Writer) zerolog.Logger {
	if cfg.LogFormat == config.Console {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.DateTime, NoColor: !isTerminal(w)}
	}
	return zerolog.New(w).Level(cfg.LogLevel).With().Timestamp().Logger()
}

// isTerminal reports whether somebody reads what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
