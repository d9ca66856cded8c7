// Reads a public topic: each value checked by its schema, repeats dropped by ce_id, resumed where the group stopped.
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.*;
import com.networknt.schema.*;
import java.nio.file.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

class Consume {
    public static void main(String[] args) throws Exception {
        var json = new ObjectMapper();
        var factory = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012);
        var schema = factory.getSchema(Files.readString(Path.of(args[2])));
        var settings = Map.<String, Object>of("bootstrap.servers", args[0], "group.id", args[3], "auto.offset.reset", "earliest", "enable.auto.commit", "false");
        var seen = new LinkedHashSet<String>();
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of(args[1]));
            for (;; consumer.commitSync()) { // after the work of the batch
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    var id = new String(record.headers().lastHeader("ce_id").value());
                    if (!seen.add(id)) continue;
                    JsonNode value = null; // stays so where there is none: forgotten
                    Set<?> wrong = Set.of();
                    try {
                        if (record.value() != null) wrong = schema.validate(value = json.readTree(record.value()));
                    } catch (JsonProcessingException e) {
                        wrong = Set.of("it is no JSON");
                    }
                    if (!wrong.isEmpty()) System.err.println("passed over " + id + ": " + wrong); // it will not get better
                    else System.out.println(json.writeValueAsString(json.createObjectNode().put("ce_id", id).set("value", value))); // your work goes here
                    if (seen.size() > 100_000) seen.remove(seen.iterator().next());
                }
            }
        }
    }
}
