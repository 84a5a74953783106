package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nackmq/nackmq/internal/config"
)

// settings are the flags of a node's configuration on a command.
type settings struct {
	file    string
	environ []string
	flags   *pflag.FlagSet
	values  map[string]*setting // by the key's name
}

// addSettings gives cmd a flag for every key of the configuration.
func addSettings(cmd *cobra.Command, environ []string) *settings {
	s := &settings{environ: environ, flags: cmd.Flags(), values: map[string]*setting{}}
	s.flags.SortFlags = false
	s.flags.StringVar(&s.file, "config", "", "YAML `file` to read; NACKMQ_CONFIG names it, too")
	defaults := config.Default()
	for _, k := range config.Keys() {
		v := &setting{k.Value(defaults), k.Kind}
		s.values[k.Name] = v
		f := s.flags.VarPF(v, k.Flag(), "", k.Help)
		if k.Kind == config.Bool {
			f.NoOptDefVal = "true"
		}
	}
	return s
}

// A setting is a flag's value as it was written; internal/config reads it.
type setting struct {
	text string
	kind config.Kind
}

func (s *setting) Set(text string) error { s.text = text; return nil }
func (s *setting) String() string        { return s.text }

// Type is what the help shows.
func (s *setting) Type() string {
	switch s.kind {
	case config.Bool:
		return "bool"
	case config.Number:
		return "number"
	case config.Size:
		return "size"
	case config.Duration:
		return "duration"
	case config.List:
		return "list"
	}
	return "text"
}

// load reads the configuration from all its places and checks it.
func (s *settings) load() (config.Config, map[string]config.Origin, error) {
	src := config.Sources{Flags: map[string]string{}, Environ: s.environ, File: s.file}
	if src.File == "" {
		src.File = variable(s.environ, "NACKMQ_CONFIG")
	}
	for _, k := range config.Keys() {
		if s.flags.Changed(k.Flag()) {
			src.Flags[k.Name] = s.values[k.Name].text
		}
	}
	cfg, origins, err := config.Load(src)
	if err == nil {
		err = cfg.ValidateAt(origins)
	}
	if err != nil && strings.HasPrefix(err.Error(), "--") {
		err = &usageError{err}
	}
	return cfg, origins, err
}

// variable gives an environment variable's value, or nothing.
func variable(environ []string, name string) string {
	i := slices.IndexFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if i < 0 {
		return ""
	}
	return environ[i][len(name)+1:]
}
