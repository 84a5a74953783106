package config

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
)

// Sources are the places a configuration is read from, the strongest first.
type Sources struct {
	Flags   map[string]string // by the key's name: only those that were given
	Environ []string          // as os.Environ gives it
	File    string            // path of a YAML file; empty: none
}

// An Origin says where a key's value came from: "default", "file FILE",
// "variable NAME" or "flag --NAME".
type Origin string

// Load reads a configuration. The error is one sentence that names the place,
// and the nearest key where a key is not known. Load does not Validate.
func Load(src Sources) (Config, map[string]Origin, error) {
	cfg := Default()
	origins := map[string]Origin{}
	known := map[string]Key{}
	for _, k := range Keys() {
		known[k.Name] = k
		origins[k.Name] = "default"
	}

	apply := func(layer *koanf.Koanf, place func(k Key) string, origin func(k Key) Origin) error {
		values := layer.All()
		for _, name := range slices.Sorted(maps.Keys(values)) {
			k := known[name]
			s, err := asText(k.Kind, values[name])
			if err == nil {
				err = k.set(&cfg, s)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", place(k), err)
			}
			origins[name] = origin(k)
		}
		return nil
	}

	if src.File != "" {
		layer, err := loadFile(src.File, known)
		if err != nil {
			return Config{}, nil, err
		}
		place := func(k Key) string { return at(src.File, k.Name) + ": " + k.Name }
		if err := apply(layer, place, func(Key) Origin { return Origin("file " + src.File) }); err != nil {
			return Config{}, nil, err
		}
	}

	layer, err := loadEnviron(src.Environ)
	if err != nil {
		return Config{}, nil, err
	}
	if err := apply(layer, Key.Variable, func(k Key) Origin { return Origin("variable " + k.Variable()) }); err != nil {
		return Config{}, nil, err
	}

	layer = koanf.New(".")
	flags := map[string]any{}
	for name, value := range src.Flags {
		flags[name] = value
	}
	if err := layer.Load(confmap.Provider(flags, "."), nil); err != nil {
		return Config{}, nil, fmt.Errorf("flags: %w", err)
	}
	place := func(k Key) string { return "--" + k.Flag() }
	if err := apply(layer, place, func(k Key) Origin { return Origin("flag " + place(k)) }); err != nil {
		return Config{}, nil, err
	}
	return cfg, origins, nil
}

// loadFile reads a YAML file and refuses keys that are not known.
func loadFile(path string, known map[string]Key) (*koanf.Koanf, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, unwrapPath(err))
	}
	layer := koanf.New(".")
	if err := layer.Load(file.Provider(path), yaml.Parser()); err != nil {
		if shape := topShape(path); shape != "" {
			return nil, fmt.Errorf("configuration %s is a %s: write KEY: VALUE, one a line; nackmq config init prints a sample", path, shape)
		}
		text := strings.ReplaceAll(strings.TrimPrefix(unwrapPath(err).Error(), "yaml: "), "\n", " ")
		return nil, fmt.Errorf("configuration %s is not YAML: %s", path, text)
	}
	for _, name := range slices.Sorted(maps.Keys(layer.All())) {
		if _, ok := known[name]; ok {
			continue
		}
		if layer.Get(name) == nil && isSection(name) {
			layer.Delete(name) // "limits:" with nothing below it, all commented out
			continue
		}
		if isSection(name) {
			return nil, fmt.Errorf("%s: %s: it holds keys below it, such as %s, and cannot be one value", at(path, name), name, firstBelow(name))
		}
		if head, _, nested := strings.Cut(name, "."); nested && known[head].Name != "" {
			return nil, fmt.Errorf("%s: %s: it is a group of keys and must be one value", at(path, head), head)
		}
		return nil, fmt.Errorf("%s: unknown key %q%s", at(path, name), name, suggest(name, KeyNames(), "; nackmq config init prints the known ones"))
	}
	return layer, nil
}

// topShape says what a YAML file is that is no group of keys; empty: it is one, or
// no YAML at all.
func topShape(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	// Below a key the parser takes anything.
	wrapped, err := yaml.Parser().Unmarshal([]byte("top:\n  " + strings.ReplaceAll(string(data), "\n", "\n  ")))
	if err != nil {
		return ""
	}
	switch wrapped["top"].(type) {
	case map[string]any, nil:
		return ""
	case []any:
		return "list"
	}
	return "single value"
}

// firstBelow gives the first key of a section.
func firstBelow(section string) string {
	names := KeyNames()
	return names[slices.IndexFunc(names, func(k string) bool { return strings.HasPrefix(k, section+".") })]
}

// loadEnviron reads the NACKMQ_ variables. An empty one counts as not given:
// that is what a compose file makes of a value that its user left out.
func loadEnviron(environ []string) (*koanf.Koanf, error) {
	keys := map[string]string{}
	names := []string{}
	for _, k := range Keys() {
		keys[k.Variable()] = k.Name
		names = append(names, k.Variable())
	}
	var unknown []string
	layer := koanf.New(".")
	err := layer.Load(env.Provider(".", env.Opt{
		Prefix:      "NACKMQ_",
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(variable, value string) (string, any) {
			name, ok := keys[variable]
			if !ok && !slices.Contains(clientVariables, variable) && !serviceLink.MatchString(variable) {
				unknown = append(unknown, variable)
			}
			if value == "" {
				return "", nil
			}
			return name, value
		},
	}), nil)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return nil, fmt.Errorf("environment: unknown variable %s%s", unknown[0], suggest(unknown[0], names, "; nackmq serve --help lists the known ones"))
	}
	return layer, nil
}

// clientVariables are read by the commands themselves.
var clientVariables = []string{"NACKMQ_CONFIG", "NACKMQ_SERVER"}

// serviceLink matches the variables that Kubernetes gives to every container
// beside a service whose name begins with nackmq.
var serviceLink = regexp.MustCompile(`^NACKMQ_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT|PORT)(_[A-Z0-9_]+)?$`)

// isSection reports whether name is the first part of nested keys.
func isSection(name string) bool {
	return slices.ContainsFunc(KeyNames(), func(k string) bool { return strings.HasPrefix(k, name+".") })
}

// asText gives a layer's value as the text that a flag would have. YAML's own
// reading of a plain scalar must fit the key, so that 0640 or a date in place of
// a name is noticed and not mangled.
func asText(kind Kind, v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool:
		if kind == Bool {
			return strconv.FormatBool(v), nil
		}
	case int:
		if kind == Number || kind == Size {
			return strconv.Itoa(v), nil
		}
	case nil:
		return "", fmt.Errorf("it has no value")
	case []any:
		if kind == List {
			return joinTexts(v)
		}
		return "", fmt.Errorf("it is a list and must be one value")
	}
	if kind == Text || kind == List {
		return "", fmt.Errorf("YAML reads %v as something else than text; write it in quotes", v)
	}
	return fmt.Sprint(v), nil // what cannot be read is refused by the key
}

// joinTexts gives a list's texts with commas in between.
func joinTexts(list []any) (string, error) {
	var all []string
	for _, v := range list {
		s, is := v.(string)
		if !is {
			return "", fmt.Errorf("its list holds something else than text")
		}
		all = append(all, s)
	}
	return strings.Join(all, ","), nil
}

// unwrapPath takes the path, which the sentence has already, out of err.
func unwrapPath(err error) error {
	if pe, ok := err.(*os.PathError); ok {
		return pe.Err
	}
	return err
}
