package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nackmq/nackmq/internal/config"
)

func configCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "write, check and show a node's configuration",
		Long: `A node reads its configuration from its flags, from NACKMQ_ variables and from a YAML
file; a flag overrides a variable, and a variable the file. The key "limits.cache-age"
is the flag --limits-cache-age and the variable NACKMQ_LIMITS_CACHE_AGE.`,
		Example: `  nackmq config init nackmq.yaml     write a file with every key and its default
  nackmq config check nackmq.yaml    find what a node would refuse
  nackmq config show --config nackmq.yaml --http 127.0.0.1:0`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	cmd.AddCommand(configInitCommand(), configCheckCommand(), configShowCommand(environ))
	return cmd
}

func configInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [FILE]",
		Short: "write a configuration with every key and its default",
		Long:  "Writes to FILE, which must not be there yet, or to standard output.",
		Example: `  nackmq config init
  nackmq config init nackmq.yaml`,
		Args: arguments(0, 1, "a FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "-" {
				_, err := fmt.Fprint(cmd.OutOrStdout(), config.Sample())
				return err
			}
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already and is left as it is: name another file", args[0])
			}
			if err != nil {
				return err
			}
			if _, err := f.WriteString(config.Sample()); err != nil {
				f.Close()
				return err
			}
			return f.Close()
		},
	}
}

func configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE",
		Short:   "say whether a node would accept a configuration",
		Long:    "Checks FILE alone: no variables, no flags. Nothing is started.",
		Example: `  nackmq config check nackmq.yaml`,
		Args:    arguments(1, 1, "a FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, origins, err := config.Load(config.Sources{File: args[0]})
			if err != nil {
				return err
			}
			if err := cfg.ValidateAt(origins); err != nil {
				if !strings.HasPrefix(err.Error(), args[0]) {
					err = fmt.Errorf("%s: %w", args[0], err) // about a default, beside the file
				}
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good\n", args[0])
			return err
		},
	}
}

func configShowCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "print the configuration that holds, and where each value comes from",
		Example: `  nackmq config show
  NACKMQ_HTTP=127.0.0.1:0 nackmq config show --config nackmq.yaml`,
		Args: arguments(0, 0, ""),
	}
	s := addSettings(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, origins, err := s.load()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), config.Show(cfg, origins))
		return err
	}
	return cmd
}
