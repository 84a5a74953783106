// Command nackmq is NackMQ in one binary: serve runs a node, pub and sub talk to
// one in either of its languages, config and doctor help to set one up.
//
// Every command keeps three promises to scripts: what it prints on standard
// output is data, one line a thing; what went wrong is one sentence on standard
// error; and it exits with 0 when done, 1 when refused or failed, and 2 when the
// command line was not understood.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}, os.Environ()))
}

// streams are the three files of a process.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and gives the exit code.
func run(ctx context.Context, args []string, std streams, environ []string) int {
	root, started := newRoot(std, environ)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(std.err, "nackmq: %s\n", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	var usage *usageError
	if !*started || errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// A usageError is a command line that was understood too late: cobra accepted
// it, the command did not.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// arguments checks how many a command has; needs says what it wants.
func arguments(least, most int, needs string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("%s needs %s; %s --help shows how", cmd.Name(), needs, cmd.CommandPath())
		case most >= 0 && len(args) > most && most == 0:
			return fmt.Errorf("%s takes no argument and was given %q; %s --help shows how", cmd.Name(), args[0], cmd.CommandPath())
		case most >= 0 && len(args) > most:
			return fmt.Errorf("%s takes %s and no more, and was given %q as well; %s --help shows how", cmd.Name(), needs, args[most], cmd.CommandPath())
		}
		return nil
	}
}

// unknownCommand is the error for a word that is none of cmd's commands.
func unknownCommand(cmd *cobra.Command, word string) error {
	if cmd.SuggestionsMinimumDistance = 2; len(cmd.SuggestionsFor(word)) > 0 {
		return usagef("unknown command %q; did you mean %q?", word, cmd.SuggestionsFor(word)[0])
	}
	return usagef("unknown command %q; %s --help lists them", word, cmd.CommandPath())
}

// helpCommand is cobra's, but for words that are no command: those are errors.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "show what a command does",
		Example: "  nackmq help sub",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				if len(rest) == 0 {
					rest = args
				}
				return unknownCommand(cmd, rest[0])
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// refineCompletion has cobra's command refuse a shell that it does not know.
func refineCompletion(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Example = "  nackmq completion bash > /etc/bash_completion.d/nackmq"
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		}
	}
}

// newRoot builds the tree of commands. started becomes true when a command
// begins to run: an error before that is cobra's, about the command line.
func newRoot(std streams, environ []string) (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:   "nackmq",
		Short: "one ordered log, two languages: MQTT and a protocol without acknowledgements",
		Long: `NackMQ is a message broker. Every message gets a place, (epoch, seq) within its
subject, in one ordered, durable log. MQTT clients and native clients talk to the
same subjects; a native subscriber says nothing while all is well.

Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 the
command line was not understood.`,
		Example: `  nackmq serve                             run a node, data in ./nackmq-data
  nackmq sub '/demo/#'                     show what is published
  nackmq pub /demo/hello 'hello, world'    publish; mosquitto_sub -t 'demo/#' sees it, too
  nackmq doctor                            check this machine and the node on it`,
		Args:               cobra.ArbitraryArgs,
		Version:            thisBuild().Version,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		PersistentPreRun:   func(*cobra.Command, []string) { *started = true },
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddCommand(
		serveCommand(environ),
		pubCommand(environ),
		subCommand(environ),
		configCommand(environ),
		doctorCommand(environ),
		versionCommand(),
	)
	root.SetHelpCommand(helpCommand(root))
	root.InitDefaultCompletionCmd()
	refineCompletion(root)
	return root, started
}
