package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/nackmq/nackmq/internal/config"
)

// A verdict is what a check says of its object.
type verdict string

const (
	ok   verdict = "ok"
	warn verdict = "warn" // it works; read what it says before the load comes
	fail verdict = "fail" // it does not work
)

// A finding is one line of the doctor's.
type finding struct {
	Verdict verdict `json:"verdict"`
	Object  string  `json:"object"`
	Text    string  `json:"text"` // what was found and, unless all is well, what to do
}

func found(v verdict, object, format string, args ...any) finding {
	return finding{v, object, fmt.Sprintf(format, args...)}
}

// A patient is what the checks look at.
type patient struct {
	cfg  config.Config
	self build
	node *nodeStatus // of the node that runs on this configuration's HTTP address; nil if none does
	why  error       // why node is nil
}

func doctorCommand(environ []string) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "check this machine and the node that runs on it",
		Long: `Checks what a node with this configuration needs of the machine, and the node itself if
one runs: open files, the data directory, memory, the clock, the ports, the version and
whether it is ready. Each line is ok, warn or fail, with what to do.

Takes the flags, variables and file that serve takes. With --json each line is an object
with "verdict", "object" and "text". Exit code 1 if anything failed.`,
		Example: `  nackmq doctor
  nackmq doctor --json
  nackmq doctor --config nackmq.yaml
  nackmq doctor --data-dir /var/lib/nackmq`,
		Args: arguments(0, 0, ""),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	s := addSettings(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, _, err := s.load()
		if err != nil {
			return err
		}
		return examine(cmd.Context(), cfg, &reporter{out: cmd.OutOrStdout(), json: asJSON})
	}
	return cmd
}

// examine runs every check and prints its findings.
func examine(ctx context.Context, cfg config.Config, out *reporter) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	p := &patient{cfg: cfg, self: thisBuild()}
	p.node, p.why = askNode(ctx, cfg.HTTP)
	failed := 0
	for _, check := range []func(context.Context, *patient) []finding{
		checkFiles, checkDataDir, checkMemory, checkClock, checkPorts, checkNode,
	} {
		for _, f := range check(ctx, p) {
			if f.Verdict == fail {
				failed++
			}
			if err := out.finding(f); err != nil {
				return err
			}
		}
	}
	if failed > 0 {
		return fmt.Errorf("doctor: %d of the checks failed", failed)
	}
	return nil
}

func (r *reporter) finding(f finding) error {
	if r.json {
		return r.encode(f)
	}
	_, err := fmt.Fprintf(r.out, "%-5s %-10s %s\n", f.Verdict, f.Object, f.Text)
	return err
}
