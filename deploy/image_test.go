package deploy_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/go/packages"
)

func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var out []string
	for line := range strings.SplitSeq(strings.ReplaceAll(string(text), "\\\n", " "), "\n") {
		if line = strings.Join(strings.Fields(line), " "); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

func TestImageIsOneStaticBinaryThatIsNotRoot(t *testing.T) {
	docker := lines(t, "Dockerfile")
	last := 0
	for i, line := range docker {
		if strings.HasPrefix(line, "FROM ") {
			last = i
		}
	}
	objects := build(t, "base")
	d, c := watchers(t, objects)
	user := d.Spec.Template.Spec.SecurityContext
	assert.Equal(t, []string{
		"FROM scratch", "COPY --from=build /triwatch /triwatch", "USER 65532:65532", "EXPOSE 26379 36379 8080", `ENTRYPOINT ["/triwatch"]`,
	}, docker[last:])
	assert.Equal(t, int64(65532), *user.RunAsUser)
	assert.Equal(t, int64(65532), *user.RunAsGroup)
	assert.Empty(t, c.Command, "the image's own entry point runs")
}

// The image is built as `make build` builds the binary.
func TestImageIsBuiltAsTheBinaryIs(t *testing.T) {
	text, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	flags := regexp.MustCompile(`(?m)^LDFLAGS = (.*)$`).FindStringSubmatch(string(text))
	require.NotNil(t, flags)
	want := `-ldflags "` + strings.ReplaceAll(flags[1], "$(VERSION)", "$VERSION") + `"`
	docker := strings.Join(lines(t, "Dockerfile"), "\n")
	assert.Contains(t, docker, want)
	assert.Contains(t, docker, "CGO_ENABLED=0")
	assert.Contains(t, docker, "-trimpath")

	module, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(module))
	require.NotNil(t, version)
	assert.Contains(t, docker, "FROM golang:"+version[1]+" AS build")
}

func TestNothingThatTheBuildNeedsIsLeftOutOfItsContext(t *testing.T) {
	const module = "github.com/triwatch/triwatch"
	loaded, err := packages.Load(&packages.Config{Dir: "..", Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps}, "./cmd/triwatch")
	require.NoError(t, err)
	ignored := lines(t, "Dockerfile.dockerignore")
	require.NotEmpty(t, ignored)
	needed := 0
	packages.Visit(loaded, nil, func(p *packages.Package) {
		dir, ok := strings.CutPrefix(p.PkgPath, module+"/")
		if !ok {
			return
		}
		needed++
		for _, pattern := range ignored {
			for at := dir; at != "."; at = path.Dir(at) {
				matches, err := path.Match(pattern, at)
				require.NoError(t, err)
				assert.False(t, matches, "%q leaves out %s", pattern, dir)
			}
		}
	})
	assert.Greater(t, needed, 5)
	for _, file := range []string{"go.mod", "go.sum"} {
		assert.NotContains(t, ignored, file)
	}
}
