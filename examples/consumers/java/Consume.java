// Reads a public topic: each value checked by its schema, repeats dropped by ce_id, resumed where the group stopped.
import com.networknt.schema.*;
import java.nio.file.Path;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

class Consume {
    // What the schema says against a value; none: the shipment was forgotten.
    static Set<?> refused(JsonSchema schema, String value) {
        try { return value == null ? Set.of() : schema.validate(value, InputFormat.JSON); }
        catch (IllegalArgumentException e) { return Set.of("it is no JSON"); }
    }

    public static void main(String[] args) {
        var schema = JsonSchemaFactory.getInstance(SpecVersion.VersionFlag.V202012).getSchema(Path.of(args[2]).toUri());
        var settings = Map.<String, Object>of("bootstrap.servers", args[0], "group.id", args[3],
            "auto.offset.reset", "earliest", "enable.auto.commit", "false");
        var seen = new LinkedHashSet<String>();
        try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(args[1]));
            for (;; consumer.commitSync()) // after the work of the batch
                for (var record : consumer.poll(Duration.ofSeconds(1))) {
                    var id = new String(record.headers().lastHeader("ce_id").value());
                    if (!seen.add(id)) continue;
                    if (seen.size() > 100_000) seen.remove(seen.iterator().next());
                    var wrong = refused(schema, record.value());
                    if (!wrong.isEmpty()) System.err.println("passed over " + id + ": " + wrong);
                    else // your work goes here, with the value as JSON text
                        System.out.printf("{\"ce_id\":\"%s\",\"value\":%s}%n", id, record.value());
                }
        }
    }
}
