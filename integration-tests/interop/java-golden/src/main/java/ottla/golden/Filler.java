package ottla.golden;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Random;

import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;

/** Gives random values to the fields that a message has in one version, as its schema lists them. */
final class Filler {
    private final Random random;
    private final short version;
    private boolean isUnsigned16;

    Filler(Random random, short version) {
        this.random = random;
        this.version = version;
    }

    void fill(Message message) throws ReflectiveOperationException {
        Schema schema = ((Schema[]) message.getClass().getField("SCHEMAS").get(null))[version];
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                fillTagged(message, tagged);
            } else {
                set(message, bound.def.name, bound.def.type);
            }
        }
    }

    private void fillTagged(Message message, TaggedFields tagged) throws ReflectiveOperationException {
        Field fields = TaggedFields.class.getDeclaredField("fields");
        fields.setAccessible(true);
        int next = 0;
        for (var entry : ((Map<?, ?>) fields.get(tagged)).entrySet()) {
            var field = (org.apache.kafka.common.protocol.types.Field) entry.getValue();
            next = Math.max(next, (Integer) entry.getKey() + 1);
            if (chance(60)) {
                set(message, field.name, field.type);
            }
        }
        while (chance(15)) {
            next += random.nextInt(300);
            byte[] data = new byte[chance(10) ? 200 : random.nextInt(6)];
            random.nextBytes(data);
            message.unknownTaggedFields().add(new RawTaggedField(next++, data));
        }
    }

    private void set(Message message, String name, org.apache.kafka.common.protocol.types.Type type)
        throws ReflectiveOperationException {
        Field field = find(message.getClass(), name);
        field.setAccessible(true);
        if (type.isNullable() && !field.getType().isPrimitive() && chance(20)) {
            field.set(message, null);
            return;
        }
        // Unsigned 16-bit numbers are ints in Java.
        isUnsigned16 = type == org.apache.kafka.common.protocol.types.Type.UINT16;
        Object value = value(field.getType(), field.getGenericType());
        field.set(message, value);
    }

    private Object value(Class<?> type, Type generic) throws ReflectiveOperationException {
        if (type == boolean.class || type == Boolean.class) {
            return random.nextBoolean();
        } else if (type == byte.class || type == Byte.class) {
            return (byte) random.nextInt();
        } else if (type == short.class || type == Short.class) {
            return (short) random.nextInt();
        } else if (type == int.class || type == Integer.class) {
            return isUnsigned16 || chance(50) ? random.nextInt(65536) : random.nextInt();
        } else if (type == long.class || type == Long.class) {
            return chance(30) ? random.nextInt(100) : random.nextLong();
        } else if (type == double.class) {
            return random.nextGaussian();
        } else if (type == String.class) {
            return text();
        } else if (type == Uuid.class) {
            return new Uuid(random.nextLong(), random.nextLong());
        } else if (type == byte[].class) {
            return bytes();
        } else if (type == ByteBuffer.class) {
            return ByteBuffer.wrap(bytes());
        } else if (Message.class.isAssignableFrom(type)) {
            return struct(type);
        } else if (Collection.class.isAssignableFrom(type)) {
            return collection(type, generic);
        } else if (type.getSimpleName().equals("BaseRecords")) {
            return Class.forName(type.getPackageName() + ".MemoryRecords")
                .getMethod("readableRecords", ByteBuffer.class).invoke(null, ByteBuffer.wrap(bytes()));
        }
        throw new IllegalStateException("no values for " + type);
    }

    private Message struct(Class<?> type) throws ReflectiveOperationException {
        Constructor<?> constructor = type.getDeclaredConstructor();
        constructor.setAccessible(true);
        Message message = (Message) constructor.newInstance();
        fill(message);
        return message;
    }

    @SuppressWarnings("unchecked")
    private Object collection(Class<?> type, Type generic) throws ReflectiveOperationException {
        Collection<Object> collection;
        Type element;
        if (type == List.class) {
            collection = new ArrayList<>();
            element = ((ParameterizedType) generic).getActualTypeArguments()[0];
        } else {
            collection = (Collection<Object>) type.getDeclaredConstructor().newInstance();
            element = ((ParameterizedType) type.getGenericSuperclass()).getActualTypeArguments()[0];
        }
        int size = chance(2) ? 130 : random.nextInt(3);
        boolean isStruct = Message.class.isAssignableFrom((Class<?>) element);
        for (int i = 0; i < (isStruct ? Math.min(size, 2) : size); i++) {
            collection.add(value((Class<?>) element, element));
        }
        return collection;
    }

    private String text() {
        int length = chance(3) ? 140 : random.nextInt(8);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++) {
            text.append(chance(95) ? (char) ('a' + random.nextInt(26)) : chance(50) ? 'é' : '語');
        }
        return text.toString();
    }

    private byte[] bytes() {
        byte[] bytes = new byte[chance(3) ? 150 : random.nextInt(8)];
        random.nextBytes(bytes);
        return bytes;
    }

    private boolean chance(int percent) {
        return random.nextInt(100) < percent;
    }

    private static Field find(Class<?> type, String name) {
        String plain = name.replace("_", "");
        for (Field field : type.getDeclaredFields()) {
            if (field.getName().equalsIgnoreCase(plain)) {
                return field;
            }
        }
        throw new IllegalStateException("no field " + name + " in " + type);
    }
}
