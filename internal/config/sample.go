package config

import (
	"fmt"
	"strings"
)

// Sample gives a configuration file with every key, its default and what it is,
// all commented out, so that the file says nothing until somebody edits it.
func Sample() string {
	var b strings.Builder
	b.WriteString(`# NackMQ configuration. A line without "#" overrides the default; NACKMQ_ variables
# override this file, and flags override both. nackmq config check FILE reads it.
`)
	section := ""
	for _, k := range Keys() {
		name, indent := k.Name, ""
		if head, tail, nested := strings.Cut(k.Name, "."); nested {
			if head != section {
				fmt.Fprintf(&b, "\n%s:\n", head)
				section = head
			}
			name, indent = tail, "  "
		}
		fmt.Fprintf(&b, "\n%s# %s\n%s#%s: %s\n", indent, k.Help, indent, name, quote(k, k.Value(Default())))
	}
	return b.String()
}

// Show gives the configuration that holds as YAML, each line with the place its
// value came from.
func Show(c Config, origins map[string]Origin) string {
	var b strings.Builder
	section := ""
	for _, k := range Keys() {
		name, indent := k.Name, ""
		if head, tail, nested := strings.Cut(k.Name, "."); nested {
			if head != section {
				fmt.Fprintf(&b, "%s:\n", head)
				section = head
			}
			name, indent = tail, "  "
		}
		fmt.Fprintf(&b, "%-48s # %s\n", indent+name+": "+quote(k, k.Value(c)), origins[k.Name])
	}
	return b.String()
}

// quote gives a value as YAML. Text is quoted only where YAML would misread it.
func quote(k Key, s string) string {
	plain := s != ""
	for _, r := range s {
		plain = plain && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("./_-:", r))
	}
	digits := strings.Trim(s, "0123456789.:_-+eExXoO") == ""
	if (k.Kind == Text || k.Kind == List) && (!plain || digits && !strings.Contains(s, ":") || strings.HasSuffix(s, ":") || s == "true" || s == "false" || s == "null" || strings.HasPrefix(s, "-")) {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
	}
	return s
}
