package schemas_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/behalf-platform/behalf/domain"
)

func TestEveryGoldenRecordOfAShadowFitsItsSchema(t *testing.T) {
	validators := mustValidators(t)
	done := map[domain.Kind]bool{}
	for name, record := range mustRecords(t, "shadows") {
		kind := kindOf(record)
		if err := validators[kind].Validate(record); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if done[kind] {
			continue
		}
		done[kind] = true
		r, err := domain.DecodeShadowRecord(mustJSON(t, record))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := mustContract(t, "events/"+string(kind)+".json")
		c.wantFits(c.object("/properties/data"), reflect.TypeOf(r.Event), "", map[string]bool{
			// A rule of approval is written as a boolean or an amount, not as its fields.
			"/candidate/add/requiresApproval/": true,
		})
	}
	wantSame(t, "kinds of shadows", kindsOf(slices.Collect(maps.Keys(done))), kindsOf(domain.ShadowKinds()))
}

func kindsOf(kinds []domain.Kind) (list []string) {
	for _, k := range kinds {
		list = append(list, string(k))
	}
	return list
}

func TestWhatASchemaOfAShadowRefusesTheDecoderRefuses(t *testing.T) {
	validators := mustValidators(t)
	refused := 0
	for name, record := range mustRecords(t, "shadows") {
		for _, m := range mutations(kindOf(record), record) {
			schema := validators[m.kind].Validate(m.record)
			_, decoder := domain.DecodeShadowRecord(mustJSON(t, m.record))
			_, number := m.now.(interface{ Int64() (int64, error) })
			sum := number && (strings.HasSuffix(m.path, "/nowAllowed") || strings.HasSuffix(m.path, "/nowStopped"))
			switch {
			case schema == nil && decoder != nil:
				t.Errorf("%s: %s made %v: the schema takes it, the decoder doesn't: %v", name, m.path, m.now, decoder)
			case schema != nil && decoder != nil:
				refused++
			case schema != nil && decoder == nil && exception(m) == "" && !sum && !closed(m):
				t.Errorf("%s: %s made %v: the decoder takes it, the schema doesn't: %v", name, m.path, m.now, schema)
			case schema == nil && m.old == nil:
				t.Errorf("%s: the unknown member %s is taken", name, m.path)
			}
		}
	}
	if refused < 200 {
		t.Errorf("only %d mutations were refused by both", refused)
	}
}

// closed reports whether a change is of what the schema knows all values of and
// the decoder takes as text: no shadow's event decides anything.
func closed(m mutation) bool {
	if _, ok := m.now.(string); ok {
		return m.path != "/kind" && m.path != "/at"
	}
	if list, ok := m.now.(map[string]any); ok && len(list) == 0 {
		return strings.HasPrefix(m.path, "/data/") // an object all of whose members are missing
	}
	return m.now == false && strings.HasSuffix(m.path, "/only") || strings.HasPrefix(m.path, "/data/candidate/replace/")
}

// shadowSubject is the line with the subject in natsshadow's package comment.
var shadowSubject = regexp.MustCompile(`(?m)^//\t(behalf\.shadow\.<\S+)`)

func TestTheShadowsSubjectIsDescribed(t *testing.T) {
	c := mustContract(t, "asyncapi.yaml")
	channel := c.object("/channels/shadow")
	source, err := os.ReadFile("../infra/natsshadow/open.go")
	if err != nil {
		t.Fatal(err)
	}
	found := shadowSubject.FindStringSubmatch(string(source))
	if found == nil || channel["address"] != strings.NewReplacer("<", "{", ">", "}").Replace(found[1]) {
		t.Errorf("got %v, want the subject that natsshadow names: %q", channel["address"], found)
	}
	checkParameters(t, channel)
	wantSame(t, "messages", names(channel["messages"]), kindsOf(domain.ShadowKinds()))
	for kind := range channel["messages"].(map[string]any) {
		_, message := c.resolve(c.object("/channels/shadow/messages/" + kind))
		if ref := message["payload"].(map[string]any)["schema"].(map[string]any)["$ref"]; ref != "events/"+kind+".json" {
			t.Errorf("%s: got the payload %v", kind, ref)
		}
	}
}
