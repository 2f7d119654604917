package main

import (
	"io"
	"strings"
	"text/template"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is called by kong.
func (completionCmd) Help() string {
	return `To enable completion in every new shell:

bash: kapi completion bash > ~/.local/share/bash-completion/completions/kapi

zsh: kapi completion zsh > ~/.zfunc/_kapi (a folder in $fpath)

fish: kapi completion fish > ~/.config/fish/completions/kapi.fish`
}

func (c completionCmd) Run(a *app, parser *kong.Kong) error {
	return writeCompletion(a.stdout, c.Shell, parser.Model.Node)
}

// writeCompletion writes the completion script of a shell.
func writeCompletion(w io.Writer, shell string, root *kong.Node) error {
	t, err := template.New(shell).Funcs(template.FuncMap{"quote": singleQuoted, "colons": colons}).Parse(completions[shell])
	if err != nil {
		return err
	}
	return t.Execute(w, completed(root))
}

// A completedCommand describes what can follow a command's name.
type completedCommand struct {
	// Name is a full name, such as "token create"; in Sub it is the last word.
	Name, Help string
	Flags      []completedFlag
	// Sub are the subcommands.
	Sub []completedCommand
	// Runs is true if the command line of another program follows.
	Runs bool
	// Values are the possible values of its argument, if they are known.
	Values []string
	// Names is true if the name of an operation follows, which kapi complete knows.
	Names bool
}

type completedFlag struct {
	Name, Help string
	// Takes is true if a value follows: one of Values, unless that is empty, or if Names is true, one that kapi complete
	// knows.
	Takes  bool
	Values []string
	Names  bool
}

// completed returns all commands. The first one is kapi itself, with an empty name.
func completed(root *kong.Node) (all []completedCommand) {
	var add func(node *kong.Node, name string) completedCommand
	add = func(node *kong.Node, name string) completedCommand {
		c := completedCommand{Name: name, Help: node.Help, Runs: name == "run", Names: name == "start"}
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				c.Flags = append(c.Flags, completedFlag{f.Name, f.Help, !f.IsBool(), values(f.Value), name == "start" && f.Name == "arg"})
				if f.Tag.Negatable != "" {
					c.Flags = append(c.Flags, completedFlag{"no-" + f.Name, "Turn off --" + f.Name, false, nil, false})
				}
			}
		}
		for _, p := range node.Positional {
			c.Values = append(c.Values, values(p)...)
		}
		at := len(all)
		all = append(all, c)
		for _, child := range node.Children {
			if child.Hidden {
				continue
			}
			sub := add(child, strings.TrimSpace(name+" "+child.Name))
			sub.Name = child.Name
			c.Sub = append(c.Sub, sub)
		}
		all[at] = c
		return c
	}
	add(root, "")
	return all
}

func values(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

func singleQuoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// colons escapes the characters that are special in zsh's descriptions.
func colons(s string) string {
	return strings.NewReplacer(":", `\:`, "[", `\[`, "]", `\]`, "'", `'\''`).Replace(s)
}

var completions = map[string]string{
	"bash": `# bash completion for kapi

# Completes another command line, which begins at word $1, by the package bash-completion. Its function
# has had another name since version 2.12.
_kapi_behind() {
	if declare -F _comp_command_offset >/dev/null; then
		_comp_command_offset "$1"
	elif declare -F _command_offset >/dev/null; then
		_command_offset "$1"
	elif ((COMP_CWORD == $1)); then
		COMPREPLY=($(compgen -c -- "$2"))
	else
		COMPREPLY=($(compgen -f -- "$2"))
	fi
}

# Prints the names that kapi knows: of operations, or of arguments.
_kapi_names() {
	"${COMP_WORDS[0]}" complete "$1" -- "${COMP_WORDS[@]:1:COMP_CWORD-1}" 2>/dev/null
}

_kapi() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path="" i word
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case "$path/$word" in
{{- range .}}{{$name := .Name}}{{range .Sub}}
		{{if $name}}{{$name}}{{end}}/{{.Name}}) path="{{if $name}}{{$name}} {{end}}{{.Name}}" ;;
{{- end}}{{end}}
		run/--) _kapi_behind $((i + 1)) "$cur"; return ;;
		esac
	done
	case "$path $prev" in
{{- range .}}{{$name := .Name}}{{range .Flags}}{{if .Takes}}
	{{quote (print $name " --" .Name)}}) {{if .Names}}compopt -o nospace 2>/dev/null; {{end}}COMPREPLY=($(compgen {{if .Names}}-W "$(_kapi_names arguments)"{{else if .Values}}-W "{{range .Values}}{{.}} {{end}}"{{else}}-f{{end}} -- "$cur")); return ;;
{{- end}}{{end}}{{end}}
	esac
	case "$path" in
{{- range .}}
	{{quote .Name}}) COMPREPLY=($(compgen -W "{{range .Sub}}{{.Name}} {{end}}{{range .Values}}{{.}} {{end}}{{range .Flags}}--{{.Name}} {{end}}{{if .Runs}}--{{end}}{{if .Names}}$(_kapi_names operations){{end}}" -- "$cur")) ;;
{{- end}}
	esac
}
complete -F _kapi kapi
`,
	"zsh": `#compdef kapi
# Offers the names that kapi knows: of operations, or of arguments.
_kapi_names() {
	local -a names=(${(f)"$($said[1] complete $1 -- ${said[2,-1]} 2>/dev/null)"})
	if [[ $1 == arguments ]]; then
		compadd -S '' -- $names
	else
		compadd -- $names
	fi
}

_kapi() {
	local at="" i before=0
	local -a said=("${(@)words[1,CURRENT-1]}")
	for ((i = 2; i < CURRENT; i++)); do
		case "$at/$words[i]" in
{{- range .}}{{$name := .Name}}{{range .Sub}}
		{{if $name}}{{quote $name}}{{end}}/{{.Name}}) at="{{if $name}}{{$name}} {{end}}{{.Name}}" before=$((i - 1)) ;;
{{- end}}{{end}}
		run/--) shift $i words; ((CURRENT -= i)); _normal; return ;;
		esac
	done
	shift $before words # otherwise _arguments takes them for arguments
	((CURRENT -= before))
	case "$at" in
{{- range .}}
	{{quote .Name}})
		{{- if .Sub}}
		local -a commands=({{range .Sub}} '{{.Name}}:{{colons .Help}}'{{end}})
		_describe command commands
		{{- end}}
		_arguments{{range .Flags}} '*--{{.Name}}{{if .Takes}}={{end}}[{{colons .Help}}]{{if .Takes}}:{{.Name}}:{{if .Names}}{_kapi_names arguments}{{else if .Values}}({{range .Values}}{{.}} {{end}}){{else}}_files{{end}}{{end}}'{{end}}{{if .Names}} '1:operation:{_kapi_names operations}'{{end}}{{if .Values}} '*:value:({{range .Values}}{{.}} {{end}})'{{end}}{{if .Runs}} '(-)*::command:_normal'{{end}}
		;;
{{- end}}
	esac
}
# If this is a file in $fpath, it is run as the body of _kapi when that is first called.
if [[ $funcstack[1] == _kapi ]]; then
	_kapi "$@"
else
	compdef _kapi kapi
fi
`,
	"fish": `# fish completion for kapi

function __kapi_at -d 'Whether the words typed so far name this command of kapi'
	set -l words (commandline -opc)
	set -e words[1]
	set -l at ''
	for word in $words
		switch "$at/$word"
{{- range .}}{{$name := .Name}}{{range .Sub}}
			case {{if $name}}{{quote (print $name "/" .Name)}}{{else}}/{{.Name}}{{end}}
				set at {{if $name}}{{quote (print $name " " .Name)}}{{else}}{{.Name}}{{end}}
{{- end}}{{end}}
			case run/--
				set at --
		end
	end
	test "$at" = "$argv"
end

function __kapi_behind -d 'Completes the command line after --'
	set -l words (commandline -opc)
	set -e words[1..(contains -i -- -- $words)]
	set -l line
	for word in $words
		set -a line (string escape -- $word)
	end
	set -l last (commandline -ct)
	complete -C "$line $last"
end

function __kapi_names -d 'Prints the names that kapi knows: of operations, or of arguments'
	set -l words (commandline -opc)
	$words[1] complete $argv -- $words[2..-1] 2>/dev/null
end

complete -c kapi -f
complete -c kapi -n '__kapi_at --' -a '(__kapi_behind)'
{{range .}}{{$at := quote (print "__kapi_at " .Name)}}
{{- range .Sub}}complete -c kapi -n {{$at}} -a {{.Name}} -d {{quote .Help}}
{{end}}{{range .Values}}complete -c kapi -n {{$at}} -a {{.}}
{{end}}{{range .Flags}}complete -c kapi -n {{$at}} -l {{.Name}} -d {{quote .Help}}{{if .Names}} -x -a "(__kapi_names arguments)"{{else if .Values}} -x -a "{{range .Values}}{{.}} {{end}}"{{else if .Takes}} -r{{end}}
{{end}}{{if .Names}}complete -c kapi -n {{$at}} -a "(__kapi_names operations)"
{{end}}{{if .Runs}}complete -c kapi -n {{$at}} -a '--'
{{end}}{{end}}`,
}
